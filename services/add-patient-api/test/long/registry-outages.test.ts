import { setTimeout as sleep } from "node:timers/promises";
import { addPatient, patientAdded, Patient, system } from "@amqp-idioms/contracts";
import { connect } from "amqp-kit";
import { expect } from "vitest";
import { person, post, problemOf, test as base } from "../running.ts";

const stallAt = import.meta.resolve("../processes/stall-at.ts");

/** `notified` is the ids of the patients that a subscriber is notified of, in order of arrival. */
const test = base.extend("notified", async ({ vhost, cleanup }) => {
  const subscriber = cleanup(await connect(vhost.url, { system, service: "scheduling" }));
  const ids: string[] = [];
  await subscriber.subscribe(patientAdded, ({ patientId }) => void ids.push(patientId));
  return ids;
});

test("On the embedded database a patient is registered and found", async ({ dataFolder, startService }) => {
  await startService("patient-registry", { DATA_DIR: await dataFolder("patient-registry") });
  const api = await startService("add-patient-api");
  const created = await post(api, person);
  expect(created.status).toBe(201);
  const found = await fetch(new URL(created.headers.get("location") ?? "", api.url));
  expect(await found.json()).toEqual(await created.json());
});

test("A frozen registry gives 504, and the repeat under the same key after it resumes gives one patient", async ({
  database,
  startService,
  notified,
}) => {
  const registry = await startService("patient-registry", { DATABASE_URL: database.url });
  const api = await startService("add-patient-api");
  registry.freeze();
  const startedAt = performance.now();
  const late = await post(api, person, { "idempotency-key": "k" });
  const elapsedMs = performance.now() - startedAt;
  expect(await problemOf(late)).toMatchObject({ http: 504, code: "request_timeout" });
  expect(elapsedMs).toBeGreaterThan(addPatient.timeoutMs - 100);
  expect(elapsedMs).toBeLessThan(addPatient.timeoutMs + 1_500);
  registry.thaw();

  const patient = Patient.parse(await (await post(api, person, { "idempotency-key": "k" })).json());
  const marker = Patient.parse(await (await post(api, person)).json());
  await expect.poll(() => notified).toEqual([patient.patientId, marker.patientId]);
});

test("A request that got 504 and was executed nevertheless: the repeat gets that patient and not a second one (pitfall 65)", async ({
  database,
  startService,
  notified,
}) => {
  const NODE_OPTIONS = `--import=${stallAt}`;
  await startService("patient-registry", { DATABASE_URL: database.url, NODE_OPTIONS, STALL_AT: "outbox:committed" });
  const api = await startService("add-patient-api");
  expect((await post(api, person, { "idempotency-key": "k" })).status).toBe(504);
  await expect.poll(() => notified).toHaveLength(1);

  const repeated = await post(api, person, { "idempotency-key": "k" });
  expect(repeated.status).toBe(201);
  expect(Patient.parse(await repeated.json()).patientId).toBe(notified[0]);
});

test("The broker restarts under load: each client gets 201, 503 or 504, and after its repeats one patient", async ({
  ownBroker,
  database,
  startService,
}) => {
  const AMQP_URL = ownBroker.url;
  await startService("patient-registry", { AMQP_URL, DATABASE_URL: database.url });
  const api = await startService("add-patient-api", { AMQP_URL });
  const statuses = new Set<number>();
  const postUntilAccepted = async (key: string): Promise<string> => {
    for (;;) {
      const answer = await post(api, person, { "idempotency-key": key });
      statuses.add(answer.status);
      if (answer.status === 201) return Patient.parse(await answer.json()).patientId;
      await sleep(100);
    }
  };
  const asked = Array.from({ length: 50 }, (_, index) => postUntilAccepted(`key-${index}`));
  await Promise.race(asked);
  await ownBroker.restart();
  const ids = await Promise.all(asked);
  expect(new Set(ids).size).toBe(50);
  expect([201, 503, 504]).toEqual(expect.arrayContaining([...statuses]));
  await expect.poll(async () => (await fetch(`${api.url}/readyz`)).status).toBe(200);
  const again = await post(api, person, { "idempotency-key": "key-0" });
  expect(Patient.parse(await again.json()).patientId).toBe(ids[0]);
});
