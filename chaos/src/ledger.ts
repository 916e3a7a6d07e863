import type { Fate } from "./bare.ts";
import type { Span } from "./cpu.ts";

/** What was said to the system and what it was seen to do, written down outside of it. All moments are of the machine's one monotonic clock. */

/** One POST and what came of it. `status` 0: no answer. */
export interface Attempt {
  readonly at: number;
  readonly endedAt: number;
  readonly status: number;
  /** Of a problem, or of the connection's error */
  readonly code: string;
  readonly patientId: string | undefined;
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
  /** What the fault itself saw that must not be */
  readonly complaints: string[];
}

/** A replica's readiness changed. */
export interface Readiness {
  readonly replica: string;
  readonly at: number;
  readonly isReady: boolean;
}

/** Each patient's given name: nobody may print it. */
export const patientName = "Zephyrine";

export class Ledger {
  readonly registrations: Registration[] = [];
  readonly updates: Update[] = [];
  readonly shown: Shown[] = [];
  readonly malformed: Malformed[] = [];
  readonly faults: FaultRecord[] = [];
  readonly readiness: Readiness[] = [];
  /** While too little was left of the machine */
  readonly starved: Span[] = [];
  /** What was printed with a patient's name in it: who printed it, without the name */
  readonly namesPrinted: string[] = [];
  /** GETs of accepted patients that found another one, or none */
  readonly wrongPatients: string[] = [];
}

/** What it ended in. */
export function acceptedAs({ attempts }: Registration): string | undefined {
  return attempts.find(({ status }) => status === 201)?.patientId;
}
