import { expect } from "vitest";
import { countPatients } from "../count-patients.ts";
import { killAt, onPostgres as test, openOthers, person } from "../running.ts";

test("A hundred patients through two replicas, one of which is killed: each patient exists and is notified under one message id", async ({
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
  const ids = (): Set<string> => new Set(others.received.map(({ patient }) => patient.patientId));
  await expect.poll(() => answers.filter(({ patientId }) => !ids().has(patientId))).toEqual([]);
  const messageIds = new Map(others.received.map(({ patient, messageId }) => [patient.patientId, messageId]));
  expect(others.received.filter(({ patient, messageId }) => messageIds.get(patient.patientId) !== messageId)).toEqual(
    [],
  );
});

test("Without a key the message id is the key: a request whose responder is killed after its commit is not executed twice", async ({
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
