import { setTimeout as sleep } from "node:timers/promises";
import { patientAdded } from "@amqp-idioms/contracts";
import { startPostgres, startProxy } from "@amqp-idioms/local-servers";
import { expect } from "vitest";
import {
  connectRegistry,
  newPatient,
  onPostgres as test,
  patientsBooked,
  queue,
  startScheduling,
} from "./scheduling.ts";

test("PostgreSQL stopped for a while under load: no attempt is used up, nobody is lost or booked twice, and it goes on by itself", async ({
  vhost,
  cleanup,
  skip,
}) => {
  const awayMs = 5_000;
  const { server, reason } = await startPostgres({ from: ["container", "machine"], env: {} });
  if (server === undefined) {
    skip(reason);
    return;
  }
  cleanup(server);
  const registry = cleanup(await connectRegistry(vhost.url));
  const scheduling = cleanup(await startScheduling({ DATABASE_URL: server.url, AMQP_URL: vhost.url }));
  const said = (msg: string): number => scheduling.lines.filter(({ json }) => json?.["msg"] === msg).length;
  const ready = async (): Promise<number> => (await fetch(`${scheduling.url}/readyz`)).status;
  const patients = Array.from({ length: 95 }, () => newPatient());
  const load = async (): Promise<void> => {
    for (const patient of patients) {
      await registry.notify(patientAdded, patient);
      await sleep(awayMs / 50);
    }
  };
  const loaded = load();
  await expect.poll(() => said("appointment booked")).toBeGreaterThan(5);

  await server.stop();
  await expect.poll(() => said(paused)).toBe(1);
  await expect.poll(ready).toBe(503);
  expect((await fetch(`${scheduling.url}/livez`)).status).toBe(200);
  await sleep(awayMs);
  const booked = said("appointment booked");
  await server.start();
  const backAt = performance.now();
  await expect.poll(() => said("appointment booked")).toBeGreaterThan(booked);
  // A tenth of the outage, at least half a second; and what a busy machine takes
  expect(performance.now() - backAt).toBeLessThan(5_000);
  await expect.poll(ready).toBe(200);

  await loaded;
  // In order, too: who goes back goes to where they were
  await expect.poll(() => patientsBooked(scheduling)).toEqual(patients.map(({ patientId }) => patientId));
  expect(said("appointment booked")).toBe(patients.length);
  expect(said("handler failed")).toBe(0);
  expect(said(paused)).toBe(1);
  const waiting = async (): Promise<(number | undefined)[]> =>
    (await vhost.management.queues(vhost.name))
      .filter(({ name }) => name.startsWith(queue))
      .map(({ messages }) => messages);
  // Its own, .dead and five for delays
  await expect.poll(waiting).toEqual([0, 0, 0, 0, 0, 0, 0]);
});

const paused = "subscription paused: a dependency is unavailable";

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
