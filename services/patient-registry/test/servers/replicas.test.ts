import { expect } from "vitest";
import { countPatients } from "../count-patients.ts";
import { onPostgres, openOthers, person } from "../running.ts";

/** Two replicas and the rest of the system, started once for this file. */
const test = onPostgres
  .extend(
    "started",
    { scope: "file" },
    async ({ vhostOfFile, databaseOfFileOrReason: { url }, startRegistryOfFile: start, cleanupOfFile }) => {
      const others = cleanupOfFile(await openOthers(vhostOfFile.url));
      const env = { DATABASE_URL: url ?? "" };
      const replicas = url === undefined ? [] : await Promise.all([start(env), start(env)]);
      return { others, replicas };
    },
  )
  // Skipped without a PostgreSQL
  .extend("system", ({ started, databaseOfFile: { url } }) => ({ ...started, url }));

test("Two replicas that get twenty requests at once under one key register one patient and notify of it once", async ({
  system: { others, url },
}) => {
  const answers = await Promise.all(Array.from({ length: 20 }, () => others.add(person, "key-1")));
  expect(new Set(answers.map(({ patientId }) => patientId)).size).toBe(1);
  expect(await countPatients(url)).toBe(1);
  expect((await others.receivedBeforeMarker()).map(({ patient }) => patient)).toEqual([answers[0]]);
});

test("Of twenty different persons under one key, one is registered and the others are refused", async ({
  system: { others, url },
}) => {
  const before = await countPatients(url);
  const notified = others.received.length;
  const asked = Array.from({ length: 20 }, (_, index) => others.add({ ...person, given: `Zelda ${index}` }, "key-2"));
  const answers = await Promise.allSettled(asked);
  const registered = answers.flatMap((answer) => (answer.status === "fulfilled" ? [answer.value] : []));
  const refused = answers.flatMap((answer) => (answer.status === "rejected" ? [answer.reason] : []));
  expect(registered).toHaveLength(1);
  expect(refused.map(({ error }) => error)).toEqual(Array.from({ length: 19 }, () => "idempotency_key_reused"));
  expect(await countPatients(url)).toBe(before + 1);
  await others.receivedBeforeMarker();
  // The last one is the marker
  expect(others.received.slice(notified, -1).map(({ patient }) => patient)).toEqual(registered);
});

test("A replica that is stopped answers the requests in flight, and the other replica answers the rest", async ({
  system: { others, replicas, url },
}) => {
  const before = await countPatients(url);
  const notified = others.received.length;
  const asked = Array.from({ length: 100 }, () => others.add(person));
  await Promise.race(asked);
  expect(await replicas[0]?.stop()).toMatchObject({ code: 0, signal: null });
  const answers = await Promise.all(asked);
  expect(await countPatients(url)).toBe(before + 100);
  // Nothing recognises a repeat without a key: a request that was executed twice would give 101 notifications
  await others.receivedBeforeMarker();
  const heard = others.received.slice(notified, -1).map(({ patient }) => patient.patientId);
  expect(heard.toSorted()).toEqual(answers.map(({ patientId }) => patientId).toSorted());
});
