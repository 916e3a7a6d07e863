import { patientAdded, Patient, system } from "@amqp-idioms/contracts";
import { connect } from "amqp-kit";
import { expect } from "vitest";
import { person, post, problemOf, test as base } from "../running.ts";

/**
 * patient-registry and add-patient-api, started once for this file, and `notified`: the ids of the patients that a subscriber
 * is notified of, in order of arrival.
 */
const test = base
  .extend(
    "started",
    { scope: "file" },
    async ({ vhostOfFile, databaseOfFileOrReason: { url }, startServiceOfFile: start, cleanupOfFile }) => {
      if (url === undefined) return undefined;
      const subscriber = cleanupOfFile(await connect(vhostOfFile.url, { system, service: "scheduling" }));
      const notified: string[] = [];
      await subscriber.subscribe(patientAdded, ({ patientId }) => void notified.push(patientId));
      const registry = await start("patient-registry", { DATABASE_URL: url });
      return { registry, api: await start("add-patient-api"), notified };
    },
  )
  .extend("system", ({ started, databaseOfFile: { url } }) => {
    if (started === undefined) throw new Error(`not started on ${url}`);
    return { ...started, url };
  });

test("A patient that is registered can be read, and subscribers are notified once", async ({
  system: { api, notified },
}) => {
  const created = await post(api, person);
  expect(created.status).toBe(201);
  const patient = Patient.parse(await created.json());
  const found = await fetch(new URL(created.headers.get("location") ?? "", api.url));
  expect(found.status).toBe(200);
  expect(await found.json()).toEqual(patient);
  await expect.poll(() => notified).toEqual([patient.patientId]);
});

test("The registry stops and starts again: 503 within 500 ms, then the same request is executed once", async ({
  system: { registry, api, notified, url },
  startServiceOfFile: start,
}) => {
  const before = notified.length;
  await registry.stop();
  const since = performance.now();
  const refused = await post(api, person, { "idempotency-key": "after-stop" });
  expect(performance.now() - since).toBeLessThan(500);
  expect(await problemOf(refused)).toMatchObject({ http: 503, code: "no_responder" });

  await start("patient-registry", { DATABASE_URL: url });
  const answers = await Promise.all([1, 2, 3].map(() => post(api, person, { "idempotency-key": "after-stop" })));
  expect(answers.map(({ status }) => status)).toEqual([201, 201, 201]);
  const marker = Patient.parse(await (await post(api, person)).json());
  await expect.poll(() => notified).toContain(marker.patientId);
  expect(notified).toHaveLength(before + 2);
});

test("Twenty requests at once under one key get one patient, and another body under that key gets 422 (pitfall 75)", async ({
  system: { api, notified, url },
  startServiceOfFile: start,
}) => {
  const before = notified.length;
  // Two of each service
  await start("patient-registry", { DATABASE_URL: url });
  const apis = [api, await start("add-patient-api")];
  const asked = Array.from({ length: 10 }, () => apis.map((one) => post(one, person, { "idempotency-key": '"k"' })));
  const answers = await Promise.all(asked.flat());
  expect(answers.map(({ status }) => status)).toEqual(Array.from({ length: 20 }, () => 201));
  const patients = await Promise.all(answers.map(async (answer) => JSON.stringify(await answer.json())));
  expect(new Set(patients).size).toBe(1);
  for (const one of apis) {
    const other = await post(one, { ...person, given: "Zelda" }, { "idempotency-key": '"k"' });
    expect(await problemOf(other)).toMatchObject({ http: 422, code: "idempotency_key_reused" });
  }
  const marker = Patient.parse(await (await post(api, person)).json());
  await expect.poll(() => notified).toContain(marker.patientId);
  expect(notified).toHaveLength(before + 2);
});
