import { setTimeout as sleep } from "node:timers/promises";
import { patientAdded, Patient, system } from "@amqp-idioms/contracts";
import { connect } from "amqp-kit";
import { expect } from "vitest";
import { person, post, problemOf, test as base } from "./running.ts";

const stallAt = import.meta.resolve("./processes/stall-at.ts");

/** `notified`: the ids of the patients that everybody was told of, in order, as often as they were told. */
const test = base.extend("notified", async ({ vhost, cleanup }) => {
  const subscriber = cleanup(await connect(vhost.url, { system, service: "scheduling" }));
  const ids: string[] = [];
  await subscriber.subscribe(patientAdded, ({ patientId }) => void ids.push(patientId));
  return ids;
});

test("POST, 201, GET; everybody is notified once", async ({ database, startService, notified }) => {
  await startService("patient-registry", { DATABASE_URL: database.url });
  const api = await startService("add-patient-api");
  const created = await post(api, person);
  expect(created.status).toBe(201);
  const patient = Patient.parse(await created.json());
  const found = await fetch(new URL(created.headers.get("location") ?? "", api.url));
  expect(found.status).toBe(200);
  expect(await found.json()).toEqual(patient);
  await expect.poll(() => notified).toEqual([patient.patientId]);
});

test("POST, 201, GET on the embedded database as well", async ({ dataFolder, startService }) => {
  await startService("patient-registry", { DATA_DIR: await dataFolder("patient-registry") });
  const api = await startService("add-patient-api");
  const created = await post(api, person);
  expect(created.status).toBe(201);
  const found = await fetch(new URL(created.headers.get("location") ?? "", api.url));
  expect(await found.json()).toEqual(await created.json());
});

test("twenty repeats of one key at once get one patient; another body under that key is 422 (pitfall 75)", async ({
  database,
  startService,
  notified,
}) => {
  await Promise.all([1, 2].map(() => startService("patient-registry", { DATABASE_URL: database.url })));
  const apis = await Promise.all([1, 2].map(() => startService("add-patient-api")));
  const asked = Array.from({ length: 10 }, () => apis.map((api) => post(api, person, { "idempotency-key": '"k"' })));
  const answers = await Promise.all(asked.flat());
  expect(answers.map(({ status }) => status)).toEqual(Array.from({ length: 20 }, () => 201));
  const patients = await Promise.all(answers.map(async (answer) => JSON.stringify(await answer.json())));
  expect(new Set(patients).size).toBe(1);
  for (const api of apis) {
    const other = await post(api, { ...person, given: "Zelda" }, { "idempotency-key": '"k"' });
    expect(await problemOf(other)).toMatchObject({ http: 422, code: "idempotency_key_reused" });
  }
  const [api] = apis;
  const marker = Patient.parse(await (await post(api ?? { url: "" }, person)).json());
  await expect.poll(() => notified).toContain(marker.patientId);
  expect(notified).toHaveLength(2);
});

test("a frozen registry is 504; the repeat under the same key, when it goes on, gives one patient", async ({
  database,
  startService,
  notified,
}) => {
  const registry = await startService("patient-registry", { DATABASE_URL: database.url });
  const api = await startService("add-patient-api");
  registry.freeze();
  const late = await post(api, person, { "idempotency-key": "k" });
  expect(await problemOf(late)).toMatchObject({ http: 504, code: "request_timeout" });
  registry.thaw();

  const patient = Patient.parse(await (await post(api, person, { "idempotency-key": "k" })).json());
  const marker = Patient.parse(await (await post(api, person)).json());
  await expect.poll(() => notified).toEqual([patient.patientId, marker.patientId]);
});

test("a 504 of a request that was executed all the same: the repeat gets that patient, not a second one (pitfall 65)", async ({
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

test("the registry is stopped and started again: 503 at once, then the same request is accepted once", async ({
  database,
  startService,
  notified,
}) => {
  const registry = await startService("patient-registry", { DATABASE_URL: database.url });
  const api = await startService("add-patient-api");
  await registry.stop();
  const since = performance.now();
  const refused = await post(api, person, { "idempotency-key": "k" });
  expect(performance.now() - since).toBeLessThan(500);
  expect(await problemOf(refused)).toMatchObject({ http: 503, code: "no_responder" });

  await startService("patient-registry", { DATABASE_URL: database.url });
  const answers = await Promise.all([1, 2, 3].map(() => post(api, person, { "idempotency-key": "k" })));
  expect(answers.map(({ status }) => status)).toEqual([201, 201, 201]);
  const marker = Patient.parse(await (await post(api, person)).json());
  await expect.poll(() => notified).toContain(marker.patientId);
  expect(notified).toHaveLength(2);
});

test("the broker restarts under load: each client gets 201, 503 or 504, and after its repeats one patient", async ({
  ownBroker,
  database,
  startService,
}) => {
  const AMQP_URL = ownBroker.url;
  await startService("patient-registry", { AMQP_URL, DATABASE_URL: database.url });
  const api = await startService("add-patient-api", { AMQP_URL });
  const statuses = new Set<number>();
  const postUntilTaken = async (key: string): Promise<string> => {
    for (;;) {
      const answer = await post(api, person, { "idempotency-key": key });
      statuses.add(answer.status);
      if (answer.status === 201) return Patient.parse(await answer.json()).patientId;
      await sleep(100);
    }
  };
  const asked = Array.from({ length: 50 }, (_, index) => postUntilTaken(`key-${index}`));
  await Promise.race(asked);
  await ownBroker.restart();
  const ids = await Promise.all(asked);
  expect(new Set(ids).size).toBe(50);
  expect([201, 503, 504]).toEqual(expect.arrayContaining([...statuses]));
  await expect.poll(async () => (await fetch(`${api.url}/readyz`)).status).toBe(200);
  const again = await post(api, person, { "idempotency-key": "key-0" });
  expect(Patient.parse(await again.json()).patientId).toBe(ids[0]);
});
