import { acceptedPatientId, type HttpRequest } from "../ledger.ts";
import { type Evidence, type Finding, timeOf, trailOf } from "./evidence.ts";

/** Promises about patients: request/response and notify, end to end. */

export function acceptedOnce(evidence: Evidence): Finding[] {
  const { ledger, records, repeatedAtEnd } = evidence;
  const again = new Map(repeatedAtEnd.map(({ registration, attempt }) => [registration, attempt] as const));
  const rowsOf = Map.groupBy(records.patients, ({ surname }) => surname);
  return ledger.registrations.flatMap((registration) => {
    const attempts = [...registration.attempts, again.get(registration)];
    const ids = new Set(attempts.flatMap((attempt) => (attempt?.status === 201 ? [attempt.patientId] : [])));
    const [patientId] = ids;
    const rows = rowsOf.get(registration.surname) ?? [];
    const isOnce = ids.size === 1 && rows.length === 1 && rows[0]?.patientId === patientId;
    // Without a 201 the patient may exist or not
    const isUnconfirmed = ids.size === 0 && rows.length <= 1;
    if (isOnce || isUnconfirmed) return [];
    const what = `${registration.surname} was accepted as ${[...ids].join(" and ") || "no patient"}, and is in the registry ${rows.length} times`;
    return [{ what, trail: trailOf(evidence, patientId, registration) }];
  });
}

export function oneAppointment(evidence: Evidence): Finding[] {
  return onceEach(evidence, evidence.records.appointments, "appointments");
}

export function countedOnce(evidence: Evidence): Finding[] {
  return onceEach(evidence, evidence.records.registrations, "registrations in the reports");
}

function onceEach(evidence: Evidence, rows: readonly { patientId: string }[], what: string): Finding[] {
  const counts = Map.groupBy(rows, ({ patientId }) => patientId);
  return evidence.records.patients.flatMap(({ patientId, surname }) => {
    const count = counts.get(patientId)?.length ?? 0;
    if (count === 1) return [];
    const registration = evidence.ledger.registrations.find((one) => one.surname === surname);
    return [
      { what: `${surname} (${patientId}) has ${count} ${what}`, trail: trailOf(evidence, patientId, registration) },
    ];
  });
}

export function noneInvented(evidence: Evidence): Finding[] {
  const { ledger, records } = evidence;
  const surnames = new Set(ledger.registrations.map(({ surname }) => surname));
  const patients = new Set(records.patients.map(({ patientId }) => patientId));
  const unasked = records.patients
    .filter(({ surname }) => !surnames.has(surname))
    .map(({ patientId, surname }) => `${surname} (${patientId}) is in the registry`);
  const invented = [...records.appointments, ...records.registrations]
    .filter(({ patientId }) => !patients.has(patientId))
    .map(({ patientId }) => `${patientId} has an appointment or is counted, and is not in the registry`);
  return [...unasked, ...invented, ...ledger.wrongPatients].map((what) => ({ what, trail: [] }));
}

export function noSlotTwice(evidence: Evidence): Finding[] {
  const slots = evidence.records.appointments.toSorted((one, other) => one.startsAt - other.startsAt);
  return slots.flatMap((slot, index) => {
    const next = slots[index + 1];
    if (next === undefined || next.startsAt >= slot.endsAt) return [];
    return [{ what: `${slot.patientId} and ${next.patientId} overlap`, trail: trailOf(evidence, slot.patientId) }];
  });
}

/** After a failed response, a repeat under the same key returns the patient that the first request registered. */
export function foundUnderItsKey(evidence: Evidence): Finding[] {
  const { repeatedAtEnd, recordsBefore, ledger, areAllAccepted } = evidence;
  const findings = repeatedAtEnd.flatMap(({ registration, attempt }) => {
    const before = recordsBefore?.patients.find(({ surname }) => surname === registration.surname);
    const isFound = attempt.status === 201 && (before === undefined || before.patientId === attempt.patientId);
    if (isFound) return [];
    const what = `${registration.surname}, repeated at the end, got ${attempt.status} ${attempt.code}`;
    return [{ what, trail: trailOf(evidence, before?.patientId, registration) }];
  });
  if (areAllAccepted) return findings;
  const open = ledger.registrations.filter(
    (registration) => acceptedPatientId(registration) === undefined && registration.attempts.length > 2,
  );
  return [
    ...findings,
    ...open.map((registration) => ({
      what: `${registration.surname} was not accepted after ${registration.attempts.length} attempts`,
      trail: trailOf(evidence, undefined, registration),
    })),
  ];
}

const refusedMs = 10_000;

/** Requests fail only during an outage and for 10 s after it, and never with a client error. */
export function refusedOnlyDuringOutage(evidence: Evidence): Finding[] {
  const { ledger } = evidence;
  const posts = ledger.registrations.flatMap((registration) =>
    registration.attempts.map((asked) => ({ asked, what: `the POST of ${registration.surname}`, registration })),
  );
  const gets = ledger.lookups.map((asked) => ({ asked, what: `a GET of ${asked.surname}`, registration: undefined }));
  return [...posts, ...gets].flatMap(({ asked, what, registration }) => {
    const { status, code, at } = asked;
    if (status === 200 || status === 201 || (isUnavailable(asked) && isDuringOutage(evidence, asked))) return [];
    const fault = ledger.faults.findLast(({ from }) => from <= asked.endedAt);
    const since =
      fault === undefined ? "before any fault" : `${((at - fault.to) / 1000).toFixed(1)} s after ${fault.name} ended`;
    return [
      {
        what: `${what} failed (${status} ${code}) at ${timeOf(evidence, at)}, ${since}`,
        trail: registration === undefined ? [] : trailOf(evidence, acceptedPatientId(registration), registration),
      },
    ];
  });
}

function isUnavailable({ status }: HttpRequest): boolean {
  return status === 0 || status >= 500;
}

function isDuringOutage({ ledger }: Evidence, { at, endedAt }: HttpRequest): boolean {
  return ledger.faults.some(({ from, to }) => at <= to + refusedMs && endedAt >= from);
}

/** Each subscriber's inbox has each notification exactly once. */
export function onceInInbox(evidence: Evidence): Finding[] {
  const { records } = evidence;
  return Object.entries(records.inboxes).flatMap(([service, ids]) => {
    if (ids.length === records.patients.length) return [];
    return [
      {
        what: `the inbox of ${service} has ${ids.length} notifications, and ${records.patients.length} patients exist`,
        trail: [],
      },
    ];
  });
}
