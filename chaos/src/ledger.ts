import type { Fate } from "./bare.ts";
import type { Span } from "./cpu.ts";

/** What was said to the system and what it was seen to do, written down outside of it. All moments are of the machine's one monotonic clock. */

/** What was asked over HTTP, and what came of it. `status` 0: no answer. */
export interface Asked {
  readonly at: number;
  readonly endedAt: number;
  readonly status: number;
  /** Of a problem, or of the connection's error */
  readonly code: string;
}

/** One POST. */
export interface Attempt extends Asked {
  readonly patientId: string | undefined;
}

/** One GET of a patient that was accepted. */
export interface Lookup extends Asked {
  readonly surname: string;
}

/** A person that a client wants registered, by however many attempts. */
export interface Registration {
  readonly surname: string;
  readonly key: string;
  readonly attempts: Attempt[];
  /** The client did not repeat it after a failure */
  isGivenUp: boolean;
}

export interface Update {
  readonly number: number;
  readonly at: number;
}

/** A display printed an update. */
export interface Shown extends Update {
  readonly display: string;
  readonly life: number;
}

export type Target = "score_updates" | "notify.patient.add" | "add_patient" | "get_patient";

export interface Malformed {
  readonly messageId: string;
  readonly target: Target;
  readonly kind: string;
  readonly at: number;
  /** When the broker said what became of it */
  settledAt: number;
  fate: Fate;
  /** Of a request that names our reply queue; undefined when it names none that is usable */
  readonly correlationId: string | undefined;
  /** What its receiver is to count it as */
  readonly reason: "invalid-message" | "message-too-large";
}

export interface FaultRecord {
  readonly name: string;
  detail: string;
  readonly from: number;
  /** Healed */
  to: number;
  /** From healed to: every replica ready, a patient accepted, an update shown by every display. Undefined: not in time */
  recoveredMs: number | undefined;
  /** The same from when a node of several went, while it was away. Undefined: no such fault, or not in time */
  withoutMs?: number | undefined;
  /** It found nothing to strike */
  isMissed?: boolean;
  /** What the fault itself saw that must not be */
  readonly complaints: string[];
}

/** A replica's readiness changed. */
export interface Readiness {
  readonly replica: string;
  readonly at: number;
  readonly isReady: boolean;
}

export const person = { given: "Zephyrine", birthDate: "1970-01-31" };

/** What tells of a patient: nobody may print it. */
export const personalData = new RegExp(`${person.given}|Patient-\\d|${person.birthDate}`);

export class Ledger {
  readonly registrations: Registration[] = [];
  readonly lookups: Lookup[] = [];
  readonly updates: Update[] = [];
  readonly shown: Shown[] = [];
  readonly malformed: Malformed[] = [];
  readonly faults: FaultRecord[] = [];
  readonly readiness: Readiness[] = [];
  /** While too little was left of the machine */
  readonly starved: Span[] = [];
  /** Who printed something of a patient */
  readonly personalDataPrinted: string[] = [];
  /** Faults that were asked for by name and cannot be injected here, with the reason */
  readonly notInjected: string[] = [];
  /** GETs of accepted patients that found another one, or none */
  readonly wrongPatients: string[] = [];
}

/** What it ended in. */
export function acceptedAs({ attempts }: Registration): string | undefined {
  return attempts.find(({ status }) => status === 201)?.patientId;
}
