import { expect, test } from "vitest";
import type { Evidence } from "../../src/judge/evidence.ts";
import { judge } from "../../src/judge/index.ts";
import { type FaultRecord, Ledger, type Malformed, person } from "../../src/ledger.ts";
import type { Observation } from "../../src/observe.ts";

/** The evidence of one minute without violations: two patients, a fault from 10 s to 12 s, an update every 100 ms. Long, because it is data. */
function clean() {
  const ledger = new Ledger();
  const ids = ["p1", "p2"];
  ids.forEach((patientId, index) => {
    const at = index * 30_000;
    const accepted = { at, endedAt: at + 50, status: 201, code: "", patientId };
    const refused = { at: 10_500, endedAt: 10_600, status: 503, code: "no_responder", patientId: undefined };
    const attempts = index === 0 ? [refused, accepted] : [accepted];
    ledger.registrations.push({ surname: `Patient-${index + 1}`, key: patientId, attempts, isGivenUp: false });
  });
  const fault: FaultRecord = {
    name: "broker-killed",
    detail: "",
    from: 10_000,
    to: 12_000,
    recoveredMs: 900,
    problems: [],
  };
  ledger.faults.push(fault);
  ledger.readiness.push({ replica: "score-display-1", at: 0, isReady: true });
  for (let number = 1; number <= 600; number += 1) {
    ledger.updates.push({ number, at: number * 100 });
    ledger.shown.push({ display: "score-display-1", life: 1, number, at: number * 100 + 5 });
  }
  ledger.malformed.push(
    malformed("to-notify", "notify.patient.add"),
    malformed("to-answer", "add_patient", "c1"),
    malformed("to-refuse", "get_patient"),
    malformed("to-drop", "score_updates"),
  );
  const measured = {
    replicas: [{ replica: "scheduling-1", service: "scheduling" as const, heapBytes: 2e7, handles: 5, connections: 2 }],
    channels: { scheduling: 3 },
  };
  return {
    ledger,
    records: {
      patients: ids.map((patientId, index) => ({ patientId, surname: `Patient-${index + 1}` })),
      outbox: [] as { key: string }[],
      appointments: ids.map((patientId, index) => ({ patientId, startsAt: index * 30, endsAt: index * 30 + 30 })),
      registrations: ids.map((patientId) => ({ patientId })),
      inboxes: { scheduling: ["m1", "m2"], reporting: ["m1", "m2"] },
    },
    recordsBefore: undefined,
    repeatedAtEnd: [] as Evidence["repeatedAtEnd"][number][],
    areAllAccepted: true,
    left: [] as string[],
    dead: ["scheduling", "reporting"].map((service) => ({
      queue: `notify.patient.add.${service}.dead`,
      messageId: "to-notify",
      body: "",
      headers: {} as Record<string, unknown>,
    })),
    observations: [
      seen("patient-registry-1", 40_000, "request-refused", { messageId: "to-refuse" }),
      seen("score-display-1", 40_000, "dropped", { reason: "invalid-message", count: 1 }),
      seen("add-patient-api-1", 30_000, "request-sent", { messageId: "r1", expiresInMs: 5_000 }),
      seen("patient-registry-1", 34_900, "request-begun", { messageId: "r1" }),
    ],
    replies: new Map([["c1", { at: 40_010, contentType: "application/problem+json" }]]),
    seenNotifications: [],
    resources: { before: measured, after: structuredClone(measured) },
    bareConnectionLosses: [] as number[],
    loadBeganAt: 0,
    loadEndedAt: 60_000,
    unexpectedExits: [] as Evidence["unexpectedExits"][number][],
    displays: ["score-display-1"],
    brokerVersion: "4.3.6",
  };
}

function malformed(messageId: string, target: Malformed["target"], correlationId?: string): Malformed {
  const at = 39_900;
  return {
    messageId,
    target,
    kind: "no JSON",
    at,
    settledAt: at + 5,
    fate: "routed",
    correlationId,
    reason: "invalid-message",
  };
}

function seen(replica: string, at: number, event: string, facts: Record<string, unknown>): Observation {
  return { replica, service: replica.replace(/-\d$/, ""), at, event, facts };
}

type Run = ReturnType<typeof clean>;

test("The evidence of a run without violations has no violation", () => {
  expect(judge(clean())).toEqual([]);
});

const falsified: readonly (readonly [string, (run: Run) => unknown])[] = [
  [
    "every accepted patient is in the registry exactly once",
    ({ records }) => records.patients.push({ patientId: "p3", surname: "Patient-2" }),
  ],
  ["every accepted patient is in the registry exactly once", ({ records }) => records.patients.pop()],
  ["every patient has exactly one appointment", ({ records }) => records.appointments.pop()],
  [
    "every patient is counted exactly once in the reports",
    ({ records }) => records.registrations.push({ patientId: "p1" }),
  ],
  ["every notification is exactly once in each subscriber's inbox", ({ records }) => records.inboxes.reporting.pop()],
  [
    "no patient exists that was not requested",
    ({ records }) => records.patients.push({ patientId: "p3", surname: "Stranger" }),
  ],
  [
    "no patient exists that was not requested",
    ({ records }) => records.appointments.push({ patientId: "p3", startsAt: 90, endsAt: 120 }),
  ],
  ["no appointment slot is booked twice", ({ records }) => records.appointments.forEach((slot) => (slot.startsAt = 0))],
  [
    "every accepted patient is in the registry exactly once",
    ({ ledger, records }) => {
      ledger.registrations[1]!.attempts.length = 0;
      records.patients.push({ patientId: "p3", surname: "Patient-2" });
    },
  ],
  [
    "every accepted patient is in the registry exactly once",
    ({ repeatedAtEnd, ledger }) => {
      const [registration, attempt] = [ledger.registrations[1]!, ledger.registrations[1]!.attempts.pop()!];
      repeatedAtEnd.push({ registration, attempt: { ...attempt, patientId: "p3" } });
    },
  ],
  [
    "a patient registered in spite of a failed response is found under its idempotency key",
    ({ repeatedAtEnd, ledger }) =>
      repeatedAtEnd.push({
        registration: ledger.registrations[0]!,
        attempt: { at: 61_000, endedAt: 61_100, status: 422, code: "idempotency_key_reused", patientId: undefined },
      }),
  ],
  [
    "requests fail only during an outage and for 10 s after it",
    ({ ledger }) =>
      ledger.registrations[1]?.attempts.unshift({
        at: 22_500,
        endedAt: 22_600,
        status: 503,
        code: "connection",
        patientId: undefined,
      }),
  ],
  [
    "requests fail only during an outage and for 10 s after it",
    ({ ledger }) =>
      ledger.lookups.push({ surname: "Patient-1", at: 22_500, endedAt: 22_600, status: 504, code: "request_timeout" }),
  ],
  [
    "requests fail only during an outage and for 10 s after it",
    ({ ledger }) =>
      ledger.registrations[0]?.attempts.unshift({
        at: 10_600,
        endedAt: 10_700,
        status: 422,
        code: "idempotency_key_reused",
        patientId: undefined,
      }),
  ],
  ["every malformed notification is dead-lettered", ({ dead }) => dead.pop()],
  [
    "no valid notification is dead-lettered",
    ({ dead }) => dead.push({ queue: "q.dead", messageId: "m1", body: "", headers: {} }),
  ],
  ["every malformed request with a usable reply queue is answered with an error", ({ replies }) => replies.clear()],
  [
    "every malformed request with a usable reply queue is answered with an error",
    ({ replies }) => replies.set("c1", { at: 40_010, contentType: "application/json" }),
  ],
  ["every other malformed message is counted with the right reason", ({ observations }) => observations.splice(0, 1)],
  ["every other malformed message is counted with the right reason", ({ observations }) => observations.splice(1, 1)],
  [
    "no request is begun more than 100 ms after its time limit",
    ({ observations }) => observations.push(seen("patient-registry-2", 35_101, "request-begun", { messageId: "r1" })),
  ],
  [
    "each listener receives the updates in order and none twice",
    ({ ledger }) => ledger.shown.push({ display: "score-display-1", life: 1, number: 600, at: 60_100 }),
  ],
  ["from 5 s after a fault every update reaches every connected listener", ({ ledger }) => ledger.shown.splice(400, 1)],
  ["from 5 s after a fault every update reaches every connected listener", ({ ledger }) => ledger.shown.splice(60, 1)],
  ["after every fault there are enough updates to check that", (run) => (run.loadEndedAt = 17_000)],
  [
    "after every fault there are enough updates to check that",
    ({ ledger }) => ledger.readiness.push({ replica: "score-display-1", at: 11_000, isReady: false }),
  ],
  ["every fault is injected", ({ ledger }) => ledger.faults.forEach((fault) => (fault.isSkipped = true))],
  ["every fault is injected", ({ ledger }) => ledger.notInjected.push("database-full is not injected: no disk")],
  [
    "the system recovers from every fault",
    ({ ledger }) => ledger.faults.forEach((fault) => (fault.recoveredMs = undefined)),
  ],
  ["the system recovers from every fault", ({ ledger }) => ledger.faults[0]?.problems.push("something was not back")],
  [
    "no process exits on its own",
    ({ unexpectedExits }) =>
      unexpectedExits.push({ replica: "reporting-1", at: 1, exit: { code: 1, signal: null, ms: 5 }, lastLines: [] }),
  ],
  ["nothing is left unacknowledged or in an outbox", ({ left }) => left.push("1 in the outbox")],
  ["nothing is left unacknowledged or in an outbox", ({ records }) => records.outbox.push({ key: "p1" })],
  [
    "memory, handles, channels and connections return to their level before the load",
    ({ resources }) => (resources.after.channels.scheduling = 4),
  ],
  [
    "memory, handles, channels and connections return to their level before the load",
    ({ resources }) => Reflect.deleteProperty(resources.after.channels, "scheduling"),
  ],
  [
    "memory, handles, channels and connections return to their level before the load",
    ({ resources }) => resources.after.replicas.forEach((one) => (one.heapBytes = 9e7)),
  ],
  [
    "patients' names and birth dates are in no log and no header",
    ({ ledger }) => ledger.personalDataPrinted.push("reporting-1"),
  ],
  ...[person.given, person.birthDate, "Patient-7"].map((text): readonly [string, (run: Run) => unknown] => [
    "patients' names and birth dates are in no log and no header",
    ({ dead }) => (dead[0]!.headers["amqp-kit-error"] = `${text} is invalid`),
  ]),
];

test.for(falsified)("The judge reports a violation of: %s", ([claim, falsify]) => {
  const run = clean();
  falsify(run);
  expect(claimsBroken(run)).toContain(claim);
});

test("Updates that their sender counts as dropped need not be shown", () => {
  const run = clean();
  run.ledger.shown.splice(400, 1);
  run.observations.push(seen("score-producer-1", 40_100, "dropped", { reason: "stalled", count: 1 }));
  expect(judge(run)).toEqual([]);
});

test("A request that meets an alarm may be begun after the alarm, but not one sent after the broker has reported the alarm", () => {
  const run = clean();
  run.observations.push(
    seen("patient-registry-2", 38_900, "request-begun", { messageId: "r1" }),
    seen("add-patient-api-1", 30_050, "connection", { purpose: "publishing", state: "blocked" }),
  );
  const claim = "no request is begun more than 100 ms after its time limit";
  run.ledger.faults[0] = { ...run.ledger.faults[0]!, name: "memory-alarm", from: 29_900, to: 38_800 };
  expect(claimsBroken(run)).not.toContain(claim);
  run.observations.pop();
  run.observations.push(seen("add-patient-api-1", 29_990, "connection", { purpose: "publishing", state: "blocked" }));
  expect(claimsBroken(run)).toContain(claim);
});

test("A request in flight while no CPU was free may be begun that much later, and no more", () => {
  const run = clean();
  run.observations.push(seen("patient-registry-2", 35_400, "request-begun", { messageId: "r1" }));
  const claim = "no request is begun more than 100 ms after its time limit";
  run.ledger.cpuShortages.push({ from: 29_000, to: 30_200 }, { from: 35_200, to: 36_000 });
  expect(claimsBroken(run)).not.toContain(claim);
  run.ledger.cpuShortages.pop();
  expect(claimsBroken(run)).toContain(claim);
});

function claimsBroken(run: Run): string[] {
  return judge(run).map((violation) => violation.claim);
}

test("A request that the network delayed may be begun that much later, but not if the fault was on another replica's link", () => {
  const run = clean();
  run.observations.push(seen("patient-registry-2", 38_900, "request-begun", { messageId: "r1" }));
  const frozen = { ...run.ledger.faults[0]!, name: "network-frozen", from: 31_000, to: 35_000 };
  const claim = "no request is begun more than 100 ms after its time limit";
  run.ledger.faults[0] = { ...frozen, detail: "between patient-registry-2 and the broker" };
  expect(claimsBroken(run)).not.toContain(claim);
  run.ledger.faults[0] = { ...frozen, detail: "between patient-registry-1 and the broker" };
  expect(claimsBroken(run)).toContain(claim);
});

test("A delayed link excuses only its delay, however long the fault lasts", () => {
  const run = clean();
  const claim = "no request is begun more than 100 ms after its time limit";
  const detail = "between patient-registry-2 and the broker";
  run.ledger.faults[0] = { ...run.ledger.faults[0]!, name: "network-delayed", detail, from: 31_000, to: 36_000 };
  run.observations.push(seen("patient-registry-2", 35_650, "request-begun", { messageId: "r1" }));
  expect(claimsBroken(run)).not.toContain(claim);
  run.observations.push(seen("patient-registry-2", 35_750, "request-begun", { messageId: "r1" }));
  expect(claimsBroken(run)).toContain(claim);
});

test("A CPU shortage excuses at most a second", () => {
  const run = clean();
  const claim = "no request is begun more than 100 ms after its time limit";
  run.ledger.cpuShortages.push({ from: 29_000, to: 60_000 });
  run.observations.push(seen("patient-registry-2", 36_050, "request-begun", { messageId: "r1" }));
  expect(claimsBroken(run)).not.toContain(claim);
  run.observations.push(seen("patient-registry-2", 36_150, "request-begun", { messageId: "r1" }));
  expect(claimsBroken(run)).toContain(claim);
});

test("A malformed request needs no answer only if its own queue was deleted, or its client's connection was lost", () => {
  const claim = "every malformed request with a usable reply queue is answered with an error";
  expect(brokenUnanswered(queueDeleted("add_patient"))).not.toContain(claim);
  expect(brokenUnanswered(queueDeleted("get_patient"))).toContain(claim);
  expect(brokenUnanswered(({ bareConnectionLosses }) => bareConnectionLosses.push(40_000))).not.toContain(claim);
  expect(brokenUnanswered(({ bareConnectionLosses }) => bareConnectionLosses.push(39_000))).toContain(claim);
});

function brokenUnanswered(change: (run: Run) => unknown): string[] {
  const run = clean();
  run.replies.clear();
  change(run);
  return claimsBroken(run);
}

function queueDeleted(detail: string) {
  return ({ ledger }: Run): void => {
    const times = { from: 40_000, to: 40_500 };
    ledger.faults.push({ ...ledger.faults[0]!, name: "request-queue-deleted", detail, ...times });
  };
}
