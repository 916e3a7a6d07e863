import { patientAdded } from "@amqp-idioms/contracts";
import { startProxy } from "@amqp-idioms/local-servers";
import { expect } from "vitest";
import {
  appointments,
  connectRegistry,
  newPatient,
  onPostgres as test,
  patientsBooked,
  publish,
  queue,
  startScheduling,
} from "./scheduling.ts";

test("while the database is away it is not ready; what came meanwhile is tried again, and booked", async ({
  vhost,
  database,
  cleanup,
}) => {
  const proxy = cleanup(await startProxy(database.url));
  const registry = cleanup(await connectRegistry(vhost.url));
  const scheduling = cleanup(await startScheduling({ DATABASE_URL: proxy.url, AMQP_URL: vhost.url }));
  const ready = async (): Promise<number> => (await fetch(`${scheduling.url}/readyz`)).status;
  await expect.poll(ready).toBe(200);

  proxy.refuse();
  proxy.cut();
  const [first, second] = [newPatient(), newPatient()];
  await registry.notify(patientAdded, first);
  await registry.notify(patientAdded, second);
  await expect.poll(ready).toBe(503);
  expect((await fetch(`${scheduling.url}/livez`)).status).toBe(200);
  await expect.poll(() => scheduling.lines.some(({ json }) => json?.["msg"] === "the handler failed")).toBe(true);

  proxy.accept();
  await expect.poll(ready).toBe(200);
  await expect
    .poll(async () => (await patientsBooked(scheduling)).toSorted())
    .toEqual([first.patientId, second.patientId].toSorted());
});

test("a notification whose last attempt meets no database is set aside, unharmed", async ({
  vhost,
  database,
  cleanup,
}) => {
  const proxy = cleanup(await startProxy(database.url));
  cleanup(await connectRegistry(vhost.url));
  const scheduling = cleanup(await startScheduling({ DATABASE_URL: proxy.url, AMQP_URL: vhost.url }));
  proxy.refuse();
  proxy.cut();
  const body = JSON.stringify(newPatient());
  const headers = { "amqp-kit-attempt": 6 };
  await publish(vhost, body, { content_type: "application/json", headers });

  const setAside = () => vhost.management.getMessages(vhost.name, `${queue}.dead`);
  await expect.poll(async () => (await setAside()).map(({ payload }) => payload)).toEqual([body]);
  expect((await setAside())[0]?.properties.headers).toMatchObject({
    "amqp-kit-reason": "handler_failed",
    "amqp-kit-attempt": 6,
  });
  proxy.accept();
  expect(await appointments(scheduling)).toEqual([]);
});

test("while the link to the database is dead it is not ready, still stops in time, and the next run books", async ({
  vhost,
  database,
  cleanup,
}) => {
  const proxy = cleanup(await startProxy(database.url));
  const registry = cleanup(await connectRegistry(vhost.url));
  const scheduling = cleanup(await startScheduling({ DATABASE_URL: proxy.url, AMQP_URL: vhost.url }));
  proxy.freeze();
  const patient = newPatient();
  await registry.notify(patientAdded, patient);
  await expect.poll(async () => (await fetch(`${scheduling.url}/readyz`)).status).toBe(503);
  const { code, ms } = await scheduling.stop();
  expect(code).toBe(0);
  expect(ms).toBeLessThan(8_000);

  const next = cleanup(await startScheduling({ DATABASE_URL: database.url, AMQP_URL: vhost.url }));
  await expect.poll(() => patientsBooked(next)).toEqual([patient.patientId]);
});
