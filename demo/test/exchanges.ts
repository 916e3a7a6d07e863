/**
 * Everything that the services exchange, and what the operator does, each as the broker user that the test chooses: the permissions must
 * suffice for it. These functions assert with node:assert, because one that failed may still be running when its test is over.
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
/** Enough on a busy machine. A refusal is reported immediately. */
const timeoutMs = 30_000;

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

type Exchange = keyof typeof exchanges;

/** The exchanges that each user takes part in. */
export const exchangesOf = {
  "score-producer": ["broadcast"],
  "score-display": ["broadcast"],
  "add-patient-api": ["request"],
  "patient-registry": ["request", "notify"],
  scheduling: ["notify"],
  reporting: ["notify"],
  operator: ["operate"],
} as const satisfies Record<User, readonly Exchange[]>;

/**
 * Runs exchanges one after the other.
 * @param urlOf  the URL, and so the broker user, of each service and of the operator
 * @throws the first failure; immediately when the kit logs a refusal or a dropped message
 */
export async function runExchanges(
  names: Iterable<Exchange>,
  { vhost, cleanup, urlOf }: { vhost: VirtualHost; cleanup: Cleanup; urlOf: (user: User) => string },
): Promise<void> {
  const refused = Promise.withResolvers<never>();
  const watch = (facts: object, message: string): void => {
    const line = `${message} ${JSON.stringify(facts)}`;
    // A sender without the permission to keep its exchange logs that, and works: docs/security.md
    if (/ACCESS_REFUSED|messages dropped/.test(line) && message !== "cannot hold the exchange")
      refused.reject(new Error(line));
  };
  const logger = { debug: watch, info: watch, warn: watch, error: watch };
  const join = async <N extends Service>(service: N) =>
    cleanup(await connect(urlOf(service), { system, service, logger }));
  const context: Context = { vhost, urlOf, join, signal: AbortSignal.timeout(timeoutMs) };
  const runAll = async (): Promise<void> => {
    for (const name of names) await exchanges[name](context);
  };
  const { promise: timedOut, reject } = Promise.withResolvers<never>();
  context.signal.addEventListener("abort", () => reject(context.signal.reason));
  await Promise.race([runAll(), refused.promise, timedOut]);
}

interface Context {
  vhost: VirtualHost;
  urlOf: (user: User) => string;
  /** Aborts after `timeoutMs`. */
  signal: AbortSignal;
  join: <N extends Service>(service: N) => ReturnType<typeof connect<typeof system, N>>;
}

const exchanges = { broadcast, request, notify, operate };

async function broadcast({ join }: Context): Promise<void> {
  const [producer, display] = [await join("score-producer"), await join("score-display")];
  const shown = Promise.withResolvers<string>();
  await display.listen(scoreUpdates, ({ event }) => shown.resolve(event));
  await producer.broadcast(scoreUpdates, update);
  assert.equal(await shown.promise, update.event);
}

async function request({ join }: Context): Promise<void> {
  const [registry, api] = [await join("patient-registry"), await join("add-patient-api")];
  const add = await registry.respond(addPatient, () => patient);
  const get = await registry.respond(getPatient, () => patient);
  assert.deepEqual(await api.request(addPatient, person), patient);
  assert.deepEqual(await api.request(getPatient, { patientId: patient.patientId }), patient);
  // Without a responder the requester checks each queue, which takes a permission of its own
  await Promise.all([add.stop(), get.stop()]);
  await assert.rejects(api.request(addPatient, person), NoResponderError);
  await assert.rejects(api.request(getPatient, { patientId: patient.patientId }), NoResponderError);
}

/** Both subscribers handle one message, fail twice at each of two others, and dead-letter these. */
async function notify({ vhost, join, signal }: Context): Promise<void> {
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
  for (const messageId of ["fails", "works", "fails too"]) await registry.notify(patientAdded, patient, { messageId });
  for (const { service, attempts, subscription } of subscribers) {
    const deadLetters = async (): Promise<number> =>
      (await vhost.management.getMessages(vhost.name, `notify.patient.add.${service}.dead`)).length;
    while ((await deadLetters()) < 2) await sleep(20, undefined, { signal });
    await subscription.stop();
    assert.deepEqual(attempts.toSorted(), ["fails 1", "fails 2", "fails too 1", "fails too 2", "works 1"]);
  }
}

/** Everything that `amqp-kit dead` does, with the dead letters of both subscribers. */
async function operate(context: Context): Promise<void> {
  await notify(context);
  const env = { PATH: process.env["PATH"], AMQP_URL: context.urlOf("operator") };
  const dead = async (...args: string[]): Promise<string> => {
    const command = ["packages/amqp-kit/src/dead-letters/cli.ts", "dead", ...args];
    return (await execute(process.execPath, command, { cwd: root, env })).stdout;
  };
  assert.equal((await dead("list")).match(/\.dead: 2 messages/g)?.length, 2);
  assert.equal((await dead("show", "--id", "fails")).match(/handler_failed/g)?.length, 2);
  assert.equal((await dead("requeue", "--id", "fails")).match(/1 of 2 messages requeued/g)?.length, 2);
  assert.equal((await dead("discard", "--all", "--yes")).match(/1 message discarded/g)?.length, 2);
}
