import { openDatabase } from "@amqp-idioms/outbox";
import { expect } from "vitest";
import type { RegistryTables } from "../../src/patient-store.ts";
import { onPostgres as test, openOthers, person } from "./running.ts";

const killAt = `--import=${import.meta.resolve("./processes/kill-at.ts")}`;

/** By the database itself: each row went with one notification, in one transaction. */
async function countPatients(url: string): Promise<number> {
  await using database = await openDatabase<RegistryTables>(
    { url },
    {
      schema: "patient-registry",
      migrations: new URL("../../migrations/", import.meta.url),
      logger: { debug() {}, info() {}, warn() {} },
    },
  );
  return (await database.kysely.selectFrom("patient").select("patient_id").execute()).length;
}

test("two replicas asked at once under one key, twenty times, register one patient and notify of it once", async ({
  vhost,
  database,
  stored,
  startRegistry,
  cleanup,
}) => {
  await Promise.all([startRegistry(stored), startRegistry(stored)]);
  const others = cleanup(await openOthers(vhost.url));
  const answers = await Promise.all(Array.from({ length: 20 }, () => others.add(person, "key-1")));
  expect(new Set(answers.map(({ patientId }) => patientId)).size).toBe(1);
  expect(await countPatients(database.url)).toBe(1);
  expect((await others.heardBeforeMarker()).map(({ patient }) => patient)).toEqual([answers[0]]);
});

test("of twenty different persons under one key, one is registered and all others are refused", async ({
  vhost,
  database,
  stored,
  startRegistry,
  cleanup,
}) => {
  await Promise.all([startRegistry(stored), startRegistry(stored)]);
  const others = cleanup(await openOthers(vhost.url));
  const asked = Array.from({ length: 20 }, (_, index) => others.add({ ...person, given: `Zelda ${index}` }, "key-1"));
  const answers = await Promise.allSettled(asked);
  const registered = answers.flatMap((answer) => (answer.status === "fulfilled" ? [answer.value] : []));
  const refused = answers.flatMap((answer) => (answer.status === "rejected" ? [answer.reason] : []));
  expect(registered).toHaveLength(1);
  expect(refused.map(({ error }) => error)).toEqual(Array.from({ length: 19 }, () => "idempotency_key_reused"));
  expect(await countPatients(database.url)).toBe(1);
  expect((await others.heardBeforeMarker()).map(({ patient }) => patient)).toEqual(registered);
});

test("a hundred patients through two replicas, one of them killed on the way: each is there and notified, under one message id", async ({
  vhost,
  database,
  stored,
  startRegistry,
  cleanup,
}) => {
  const [doomed] = await Promise.all([startRegistry(stored), startRegistry(stored)]);
  const others = cleanup(await openOthers(vhost.url));
  const asked = Array.from({ length: 100 }, (_, index) => others.add({ ...person, birthDate: null }, `key-${index}`));
  await Promise.race(asked);
  await doomed.kill();
  const answers = await Promise.all(asked);

  expect(new Set(answers.map(({ patientId }) => patientId)).size).toBe(100);
  expect(await countPatients(database.url)).toBe(100);
  const ids = (): Set<string> => new Set(others.heard.map(({ patient }) => patient.patientId));
  await expect.poll(() => answers.filter(({ patientId }) => !ids().has(patientId))).toEqual([]);
  const messageIds = new Map(others.heard.map(({ patient, messageId }) => [patient.patientId, messageId]));
  expect(others.heard.filter(({ patient, messageId }) => messageIds.get(patient.patientId) !== messageId)).toEqual([]);
});

test("without a key the message id serves: a request whose responder is killed after its commit is not executed twice", async ({
  vhost,
  database,
  stored,
  startRegistry,
  cleanup,
}) => {
  const doomed = await startRegistry({ ...stored, NODE_OPTIONS: killAt, KILL_AT: "outbox:committed" });
  await startRegistry(stored);
  const others = cleanup(await openOthers(vhost.url));
  const answers = [await others.add(person)];
  while (doomed.isRunning) answers.push(await others.add(person));
  expect(new Set(answers.map(({ patientId }) => patientId)).size).toBe(answers.length);
  expect(await countPatients(database.url)).toBe(answers.length);
});

test("stopped while it is asked, it answers what it has begun and the other replica the rest", async ({
  vhost,
  database,
  stored,
  startRegistry,
  cleanup,
}) => {
  const [stopping] = await Promise.all([startRegistry(stored), startRegistry(stored)]);
  const others = cleanup(await openOthers(vhost.url));
  const asked = Array.from({ length: 100 }, () => others.add(person));
  await Promise.race(asked);
  expect(await stopping.stop()).toMatchObject({ code: 0, signal: null });
  const answers = await Promise.all(asked);
  expect(await countPatients(database.url)).toBe(100);
  // Without a key nothing recognises a repeat: had one been executed twice, there would be 101 notifications
  const heard = (await others.heardBeforeMarker()).map(({ patient }) => patient.patientId);
  expect(heard.toSorted()).toEqual(answers.map(({ patientId }) => patientId).toSorted());
});
