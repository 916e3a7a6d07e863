import type { Exit } from "@amqp-idioms/local-servers";
import type { SeenNotification, Reply } from "../bare-client.ts";
import type { Attempt, Ledger, Registration } from "../ledger.ts";
import type { Observation } from "../observe.ts";
import type { DeadLetter, Records, ResourceUse } from "../records.ts";

/** Everything that a run leaves for the judge. */
export interface Evidence {
  readonly ledger: Ledger;
  readonly records: Records;
  /** Read before unaccepted registrations were repeated. Undefined with embedded databases, which cannot be read while in use */
  readonly recordsBefore: Records | undefined;
  readonly repeatedAtEnd: readonly { registration: Registration; attempt: Attempt }[];
  readonly areAllAccepted: boolean;
  /** Messages that were still in a queue or outbox at the end */
  readonly left: readonly string[];
  readonly dead: readonly DeadLetter[];
  readonly observations: readonly Observation[];
  readonly replies: ReadonlyMap<string, Reply>;
  /** When the plain amqplib client lost its connection */
  readonly bareConnectionLosses: readonly number[];
  readonly seenNotifications: readonly SeenNotification[];
  readonly resources: { readonly before: ResourceUse; readonly after: ResourceUse } | undefined;
  readonly loadBeganAt: number;
  readonly loadEndedAt: number;
  readonly unexpectedExits: readonly { replica: string; at: number; exit: Exit; lastLines: readonly string[] }[];
  readonly displays: readonly string[];
  readonly brokerVersion: string;
}

export interface Violation {
  /** The promise */
  readonly claim: string;
  readonly what: string;
  /** Where the message or patient was seen, in order of time */
  readonly trail: readonly string[];
}

/** A violation, before its claim is added. */
export type Finding = Omit<Violation, "claim">;

export interface Window {
  readonly from: number;
  readonly to: number;
  /** The fault before it, by name, or the beginning */
  readonly after: string;
}

const graceMs = 5_000;
const marginMs = 1_500;

/** The quiet periods: each from 5 s after a fault ended, or after the load began, to the next fault. */
export function windows({ ledger, loadBeganAt, loadEndedAt }: Evidence): Window[] {
  const begin = { name: "the start", to: loadBeganAt };
  return [begin, ...ledger.faults].map(({ name, to }, index) => ({
    from: to + graceMs,
    to: (ledger.faults[index]?.from ?? loadEndedAt) - marginMs,
    after: name,
  }));
}

/** Whether each readiness check in that time succeeded. */
export function wasReady({ ledger }: Evidence, replica: string, from: number, to: number): boolean {
  const changes = ledger.readiness.filter((change) => change.replica === replica);
  const before = changes.findLast(({ at }) => at <= from);
  return before?.isReady === true && !changes.some(({ at, isReady }) => at > from && at <= to && !isReady);
}

/** Everything recorded about a patient: responses, notifications, probes, tables. */
export function trailOf(evidence: Evidence, patientId: string | undefined, registration?: Registration): string[] {
  const lines: { at: number; text: string }[] = (registration?.attempts ?? []).map(({ at, endedAt, status, code }) => {
    return {
      at,
      text: `POST ${registration?.surname} under ${registration?.key}: ${`${status || "no response"} ${code}`.trim()} after ${Math.round(endedAt - at)} ms`,
    };
  });
  const { records, seenNotifications, observations, ledger } = evidence;
  const ids = new Set(
    seenNotifications
      .filter(({ body }) => patientId !== undefined && body.includes(patientId))
      .map(({ messageId }) => messageId),
  );
  for (const { at, messageId } of seenNotifications)
    if (ids.has(messageId)) lines.push({ at, text: `message ${messageId} on the notify exchange` });
  for (const { at, event, replica, facts } of observations) {
    if (ids.has(String(facts["messageId"])))
      lines.push({ at, text: `${event} in ${replica} (message ${String(facts["messageId"])})` });
  }
  const begin = lines[0]?.at ?? 0;
  for (const { name, detail, from, to } of ledger.faults) {
    if (to > begin && from < (lines.at(-1)?.at ?? 0) + 10_000)
      lines.push({ at: from, text: `fault ${name} ${detail}, ended after ${Math.round(to - from)} ms` });
  }
  const places = {
    "patient-registry": records.patients.filter((row) => row.patientId === patientId).length,
    "its outbox": records.outbox.filter(({ key }) => key === patientId).length,
    scheduling: records.appointments.filter((row) => row.patientId === patientId).length,
    reporting: records.registrations.filter((row) => row.patientId === patientId).length,
    "dead queues": evidence.dead.filter(({ body }) => patientId !== undefined && body.includes(patientId)).length,
  };
  const found = Object.entries(places)
    .map(([place, count]) => `${count} in ${place}`)
    .join(", ");
  const described = lines
    .toSorted((one, other) => one.at - other.at)
    .map(({ at, text }) => `${timeOf(evidence, at)} ${text}`);
  return [...described, `at the end, patient ${patientId ?? "without an id"}: ${found}`];
}

/** Seconds since the first message. */
export function timeOf({ ledger }: Evidence, at: number): string {
  const begin = Math.min(ledger.updates[0]?.at ?? at, ledger.registrations[0]?.attempts[0]?.at ?? at);
  return `${((at - begin) / 1000).toFixed(3)} s`;
}
