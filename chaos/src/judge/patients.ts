import { acceptedAs } from "../ledger.ts";
import { type Evidence, type Finding, moment, trailOf } from "./evidence.ts";

/** Promises about patients: request/response and notify, end to end. */

export function acceptedOnce(evidence: Evidence): Finding[] {
  const { ledger, records } = evidence;
  return ledger.registrations.flatMap((registration) => {
    const ids = new Set(registration.attempts.flatMap(({ status, patientId }) => (status === 201 ? [patientId] : [])));
    if (ids.size === 0) return [];
    const [patientId] = ids;
    const rows = records.patients.filter(({ surname }) => surname === registration.surname);
    const isOnce = ids.size === 1 && rows.length === 1 && rows[0]?.patientId === patientId;
    if (isOnce) return [];
    const what = `${registration.surname} was accepted as ${[...ids].join(" and ")}, and is ${rows.length} times in the registry`;
    return [{ what, trail: trailOf(evidence, patientId, registration) }];
  });
}

export function oneAppointment(evidence: Evidence): Finding[] {
  return onceEach(evidence, evidence.records.appointments, "appointments");
}

export function countedOnce(evidence: Evidence): Finding[] {
  return onceEach(evidence, evidence.records.registrations, "entries in the reports");
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

export function askedFor(evidence: Evidence): Finding[] {
  const { ledger, records } = evidence;
  const surnames = new Set(ledger.registrations.map(({ surname }) => surname));
  const patients = new Set(records.patients.map(({ patientId }) => patientId));
  const unasked = records.patients
    .filter(({ surname }) => !surnames.has(surname))
    .map(({ patientId, surname }) => `${surname} (${patientId}) is in the registry`);
  const invented = [...records.appointments, ...records.registrations]
    .filter(({ patientId }) => !patients.has(patientId))
    .map(({ patientId }) => `${patientId} has an appointment or a count, and is not in the registry`);
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

/** What was done in spite of a failure is what a repeat under the same key gets. */
export function foundUnderItsKey(evidence: Evidence): Finding[] {
  const { askedAgain, recordsBefore, ledger, areAllAccepted } = evidence;
  const findings = askedAgain.flatMap(({ registration, attempt }) => {
    const before = recordsBefore?.patients.find(({ surname }) => surname === registration.surname);
    const isFound = attempt.status === 201 && (before === undefined || before.patientId === attempt.patientId);
    if (isFound) return [];
    const what = `${registration.surname}, asked again when all was well, was answered ${attempt.status} ${attempt.code}`;
    return [{ what, trail: trailOf(evidence, before?.patientId, registration) }];
  });
  if (areAllAccepted) return findings;
  const open = ledger.registrations.filter(
    (registration) => acceptedAs(registration) === undefined && registration.attempts.length > 2,
  );
  return [
    ...findings,
    ...open.map((registration) => ({
      what: `${registration.surname} was not accepted, however often`,
      trail: trailOf(evidence, undefined, registration),
    })),
  ];
}

const refusedMs = 10_000;

/** Load is refused during an outage, and 10 s after it at most. */
export function refusedInTime(evidence: Evidence): Finding[] {
  const { ledger } = evidence;
  return ledger.registrations.flatMap((registration) =>
    registration.attempts.flatMap((attempt) => {
      if (attempt.status === 201) return [];
      const fault = ledger.faults.findLast(({ from }) => from <= attempt.endedAt);
      const isDuring = ledger.faults.some(({ from, to }) => attempt.at <= to + refusedMs && attempt.endedAt >= from);
      if (isDuring) return [];
      const since =
        fault === undefined
          ? "before any fault"
          : `${((attempt.at - fault.to) / 1000).toFixed(1)} s after ${fault.name} was healed`;
      const what = `${registration.surname} was refused (${attempt.status} ${attempt.code}) at ${moment(evidence, attempt.at)}, ${since}`;
      return [{ what, trail: trailOf(evidence, acceptedAs(registration), registration) }];
    }),
  );
}

/** A notification that had its effect stands in the inbox of each subscriber, once. */
export function notedInInbox(evidence: Evidence): Finding[] {
  const { records } = evidence;
  return Object.entries(records.inboxes).flatMap(([service, ids]) => {
    if (ids.length === records.patients.length) return [];
    return [{ what: `${service} noted ${ids.length} notifications of ${records.patients.length} patients`, trail: [] }];
  });
}
