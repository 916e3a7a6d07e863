import type { Exit } from "@amqp-idioms/local-servers";
import type { Heard, Reply } from "../bare.ts";
import type { Attempt, Ledger, Registration } from "../ledger.ts";
import type { Observation } from "../observe.ts";
import type { DeadMessage, Records, Weighed } from "../records.ts";

/** All that a run leaves behind to be judged. */
export interface Evidence {
  readonly ledger: Ledger;
  readonly records: Records;
  /** Before careless clients asked again; undefined with embedded databases, which cannot be read while they are in use */
  readonly recordsBefore: Records | undefined;
  readonly askedAgain: readonly { registration: Registration; attempt: Attempt }[];
  readonly areAllAccepted: boolean;
  /** What still waited somewhere when all should have been over */
  readonly left: readonly string[];
  readonly dead: readonly DeadMessage[];
  readonly observations: readonly Observation[];
  readonly replies: ReadonlyMap<string, Reply>;
  /** When the bare client on the wire lost its connection */
  readonly bareLosses: readonly number[];
  readonly heard: readonly Heard[];
  readonly weights: { readonly before: Weighed; readonly after: Weighed } | undefined;
  readonly loadBeganAt: number;
  readonly loadEndedAt: number;
  readonly unexpectedExits: readonly { replica: string; at: number; exit: Exit; lastLines: readonly string[] }[];
  readonly displays: readonly string[];
  readonly brokerVersion: string;
}

export interface Violation {
  /** What was promised */
  readonly claim: string;
  readonly what: string;
  /** Where that message or patient was seen, in the order of time */
  readonly trail: readonly string[];
}

/** What a check finds, before it is put under its claim. */
export type Finding = Omit<Violation, "claim">;

export interface Window {
  readonly from: number;
  readonly to: number;
  /** What was before it: a fault, by its name, or the beginning */
  readonly after: string;
}

const graceMs = 5_000;
const marginMs = 1_500;

/** From 5 s after a fault was healed, or after the load began, to the next fault. */
export function windows({ ledger, loadBeganAt, loadEndedAt }: Evidence): Window[] {
  const begin = { name: "the beginning", to: loadBeganAt };
  return [begin, ...ledger.faults].map(({ name, to }, index) => ({
    from: to + graceMs,
    to: (ledger.faults[index]?.from ?? loadEndedAt) - marginMs,
    after: name,
  }));
}

/** Whether the replica was ready all the time, as far as was looked. */
export function wasReady({ ledger }: Evidence, replica: string, from: number, to: number): boolean {
  const changes = ledger.readiness.filter((change) => change.replica === replica);
  const before = changes.findLast(({ at }) => at <= from);
  return before?.isReady === true && !changes.some(({ at, isReady }) => at > from && at <= to && !isReady);
}

/** Trail of a patient: answers, the wire, the probes, the tables. */
export function trailOf(evidence: Evidence, patientId: string | undefined, registration?: Registration): string[] {
  const lines: { at: number; text: string }[] = (registration?.attempts ?? []).map(({ at, endedAt, status, code }) => {
    return {
      at,
      text: `POST ${registration?.surname} under ${registration?.key}: ${status || "no answer"} ${code} after ${Math.round(endedAt - at)} ms`,
    };
  });
  const { records, heard, observations, ledger } = evidence;
  const ids = new Set(
    heard.filter(({ body }) => patientId !== undefined && body.includes(patientId)).map(({ messageId }) => messageId),
  );
  for (const { at, messageId } of heard)
    if (ids.has(messageId)) lines.push({ at, text: `message ${messageId} on the notify exchange` });
  for (const { at, event, replica, facts } of observations) {
    if (ids.has(String(facts["messageId"])))
      lines.push({ at, text: `${event} in ${replica} (message ${String(facts["messageId"])})` });
  }
  const begin = lines[0]?.at ?? 0;
  for (const { name, detail, from, to } of ledger.faults) {
    if (to > begin && from < (lines.at(-1)?.at ?? 0) + 10_000)
      lines.push({ at: from, text: `fault ${name} ${detail}, healed after ${Math.round(to - from)} ms` });
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
  const told = lines
    .toSorted((one, other) => one.at - other.at)
    .map(({ at, text }) => `${moment(evidence, at)} ${text}`);
  return [...told, `in the end patient ${patientId ?? "without an id"}: ${found}`];
}

/** Seconds since the first thing that was said. */
export function moment({ ledger }: Evidence, at: number): string {
  const begin = Math.min(ledger.updates[0]?.at ?? at, ledger.registrations[0]?.attempts[0]?.at ?? at);
  return `${((at - begin) / 1000).toFixed(3)} s`;
}
