import type { Fate } from "./bare-client.ts";
import type { Span } from "./cpu.ts";

/** What was sent to the system and what it was seen to do, recorded outside of it. All times are of the machine's monotonic clock. */

/** An HTTP request and its result. `status` 0 means no response. */
export interface HttpRequest {
  readonly at: number;
  readonly endedAt: number;
  readonly status: number;
  /** The code of the problem, or of the connection error */
  readonly code: string;
}

/** One POST. */
export interface Attempt extends HttpRequest {
  readonly patientId: string | undefined;
}

/** One GET of an accepted patient. */
export interface Lookup extends HttpRequest {
  readonly surname: string;
}

/** A person that a client registers, with all its attempts. */
export interface Registration {
  readonly surname: string;
  readonly key: string;
  readonly attempts: Attempt[];
  /** The client stopped after a failure */
  isGivenUp: boolean;
}

export interface Update {
  readonly number: number;
  readonly at: number;
}

/** An update that a display printed. */
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
  /** When the broker confirmed or returned it */
  settledAt: number;
  fate: Fate;
  /** Undefined if the request names no usable reply queue */
  readonly correlationId: string | undefined;
  /** The reason under which the receiver must count it */
  readonly reason: "invalid-message" | "message-too-large";
}

export interface FaultRecord {
  readonly name: string;
  detail: string;
  readonly from: number;
  /** When its cause was removed */
  to: number;
  /** From the end of the fault until every replica was ready, a patient was accepted and every display had shown an update. Undefined: not in time */
  recoveredMs: number | undefined;
  /** The same from the loss of a cluster's node, while it was missing. Undefined: no such fault, or not in time */
  withoutNodeMs?: number | undefined;
  /** It found no target */
  isSkipped?: boolean;
  /** Violations that the fault itself reported */
  readonly problems: string[];
}

/** A replica's readiness changed. */
export interface Readiness {
  readonly replica: string;
  readonly at: number;
  readonly isReady: boolean;
}

export const person = { given: "Zephyrine", birthDate: "1970-01-31" };

/** Matches personal data, which no service may print. */
export const personalData = new RegExp(`${person.given}|Patient-\\d|${person.birthDate}`);

export class Ledger {
  readonly registrations: Registration[] = [];
  readonly lookups: Lookup[] = [];
  readonly updates: Update[] = [];
  readonly shown: Shown[] = [];
  readonly malformed: Malformed[] = [];
  readonly faults: FaultRecord[] = [];
  readonly readiness: Readiness[] = [];
  /** When processes had to wait for a CPU */
  readonly cpuShortages: Span[] = [];
  /** Replicas that printed personal data */
  readonly personalDataPrinted: string[] = [];
  /** Faults that were named and could not be injected, with the reason */
  readonly notInjected: string[] = [];
  /** GETs of accepted patients that returned another patient, or none */
  readonly wrongPatients: string[] = [];
}

/** The id under which the patient was accepted, if it was. */
export function acceptedPatientId({ attempts }: Registration): string | undefined {
  return attempts.find(({ status }) => status === 201)?.patientId;
}
