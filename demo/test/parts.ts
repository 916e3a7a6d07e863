/**
 * The parts that the services play with each other, and the operator's, each under the user that it is given: what their rights must
 * suffice for. They assert by themselves: a part that failed may still be at its end when its test is over.
 */
import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { setTimeout as sleep } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { addPatient, getPatient, patientAdded, scoreUpdates, system } from "@amqp-idioms/contracts";
import type { VirtualHost } from "@amqp-idioms/local-servers";
import type { Cleanup } from "@amqp-idioms/local-servers/vitest";
import { connect, NoResponderError } from "amqp-kit";

export type Service = keyof typeof system;
export type User = Service | "operator";

const root = fileURLToPath(new URL("../../", import.meta.url));
const execute = promisify(execFile);
/** Enough on a busy machine; what is refused is heard of at once. */
const playMs = 30_000;

const person = { given: "Ann", surname: "Lee", birthDate: null };
export const patient = {
  ...person,
  patientId: "0b6e9ad4-6a9f-4a6c-9f0e-0d9f3a0a1c11",
  registeredAt: "2026-01-01T12:00:00Z",
};
const update = {
  match: "Final",
  home: { team: "Rovers", score: 1 },
  away: { team: "United", score: 0 },
  event: "Goal by Ida Holm, 12'",
  at: "2026-01-01T12:00:00Z",
};

type Part = keyof typeof parts;

/** What each user takes part in. */
export const partsOf = {
  "score-producer": ["broadcast"],
  "score-display": ["broadcast"],
  "add-patient-api": ["request"],
  "patient-registry": ["request", "notify"],
  scheduling: ["notify"],
  reporting: ["notify"],
  operator: ["operate"],
} as const satisfies Record<User, readonly Part[]>;

/**
 * Plays parts to their end, one after the other.
 * @param urlOf  as whom each of those who take part connects
 * @throws what went wrong; at once when the kit says that it was refused anything, or dropped a message
 */
export async function play(
  names: Iterable<Part>,
  { vhost, cleanup, urlOf }: { vhost: VirtualHost; cleanup: Cleanup; urlOf: (user: User) => string },
): Promise<void> {
  const refused = Promise.withResolvers<never>();
  const hear = (_: object, line: string): void => {
    // A sender that may not hold its exchange says so, and works: docs/security.md
    if (/ACCESS_REFUSED|messages dropped/.test(line) && !line.includes("a queue that holds exchange"))
      refused.reject(new Error(line));
  };
  const logger = { debug: hear, info: hear, warn: hear, error: hear };
  const join = async <N extends Service>(service: N) =>
    cleanup(await connect(urlOf(service), { system, service, logger }));
  const stage: Stage = { vhost, urlOf, join, signal: AbortSignal.timeout(playMs) };
  const playAll = async (): Promise<void> => {
    for (const name of names) await parts[name](stage);
  };
  const { promise: late, reject } = Promise.withResolvers<never>();
  stage.signal.addEventListener("abort", () => reject(stage.signal.reason));
  await Promise.race([playAll(), refused.promise, late]);
}

interface Stage {
  vhost: VirtualHost;
  urlOf: (user: User) => string;
  /** Aborts when the time is up. */
  signal: AbortSignal;
  join: <N extends Service>(service: N) => ReturnType<typeof connect<typeof system, N>>;
}

const parts = { broadcast, request, notify, operate };

async function broadcast({ join }: Stage): Promise<void> {
  const [producer, display] = [await join("score-producer"), await join("score-display")];
  const shown = Promise.withResolvers<string>();
  await display.listen(scoreUpdates, ({ event }) => shown.resolve(event));
  await producer.broadcast(scoreUpdates, update);
  assert.equal(await shown.promise, update.event);
}

async function request({ join }: Stage): Promise<void> {
  const [registry, api] = [await join("patient-registry"), await join("add-patient-api")];
  const add = await registry.respond(addPatient, () => patient);
  const get = await registry.respond(getPatient, () => patient);
  assert.deepEqual(await api.request(addPatient, person), patient);
  assert.deepEqual(await api.request(getPatient, { patientId: patient.patientId }), patient);
  // Then nobody is there: the api looks into each queue, and says so at once
  await Promise.all([add.stop(), get.stop()]);
  await assert.rejects(api.request(addPatient, person), NoResponderError);
  await assert.rejects(api.request(getPatient, { patientId: patient.patientId }), NoResponderError);
}

/** At both subscribers one message works, and two fail in both of their attempts and are set aside. */
async function notify({ vhost, join, signal }: Stage): Promise<void> {
  const registry = await join("patient-registry");
  const subscribing = (["scheduling", "reporting"] as const).map(async (service) => {
    const attempts: string[] = [];
    const handle = (messageId: string | undefined, attempt: number): void => {
      attempts.push(`${messageId} ${attempt}`);
      if (messageId !== "works") throw new Error("not now");
    };
    const subscriber = await join(service);
    const subscription = await subscriber.subscribe(
      patientAdded,
      (_, { messageId, attempt }) => handle(messageId, attempt),
      { retryDelaysMs: [100] },
    );
    return { service, attempts, subscription };
  });
  const subscribers = await Promise.all(subscribing);
  for (const messageId of ["fails", "works", "fails, too"]) await registry.notify(patientAdded, patient, { messageId });
  for (const { service, attempts, subscription } of subscribers) {
    const setAside = async (): Promise<number> =>
      (await vhost.management.getMessages(vhost.name, `notify.patient.add.${service}.dead`)).length;
    while ((await setAside()) < 2) await sleep(20, undefined, { signal });
    await subscription.stop();
    assert.deepEqual(attempts.toSorted(), ["fails 1", "fails 2", "fails, too 1", "fails, too 2", "works 1"]);
  }
}

/** Everything that `amqp-kit dead` does, to what both subscribers have set aside. */
async function operate(stage: Stage): Promise<void> {
  await notify(stage);
  const env = { PATH: process.env["PATH"], AMQP_URL: stage.urlOf("operator") };
  const dead = async (...args: string[]): Promise<string> => {
    const command = ["packages/amqp-kit/src/dead-letters/cli.ts", "dead", ...args];
    return (await execute(process.execPath, command, { cwd: root, env })).stdout;
  };
  assert.equal((await dead("list")).match(/\.dead: 2 messages/g)?.length, 2);
  assert.equal((await dead("show", "--id", "fails")).match(/handler_failed/g)?.length, 2);
  assert.equal((await dead("requeue", "--id", "fails")).match(/1 of 2 messages sent back/g)?.length, 2);
  assert.equal((await dead("discard", "--all", "--yes")).match(/1 message discarded/g)?.length, 2);
}
