import { setTimeout as sleep } from "node:timers/promises";
import { patientAdded } from "@amqp-idioms/contracts";
import { startPostgres, startProxy } from "@amqp-idioms/local-servers";
import { test } from "@amqp-idioms/local-servers/vitest";
import { expect } from "vitest";
import {
  connectRegistry,
  messagesOf,
  newPatient,
  outcomesOf,
  patientCount,
  queueOf,
  readiness,
  reporting,
  type Running,
  scheduling,
  startBoth,
  startSubscriber,
} from "../subscribers.ts";

test("The broker restarts: both subscribers reconnect and handle what was kept", async ({
  ownBroker,
  database,
  cleanup,
}) => {
  const registry = cleanup(await connectRegistry(ownBroker.url));
  const both = await startBoth(cleanup, { AMQP_URL: ownBroker.url, DATABASE_URL: database.url });
  await registry.notify(patientAdded, newPatient());
  for (const one of both) await expect.poll(() => patientCount(one)).toBe(1);

  await ownBroker.restart();
  const patient = newPatient();
  const notify = (): Promise<string> => registry.notify(patientAdded, patient).then(() => "confirmed");
  await expect.poll(notify, { timeout: 60_000 }).toBe("confirmed");
  for (const one of both) {
    await expect.poll(() => patientCount(one), { timeout: 60_000 }).toBe(2);
    await expect.poll(() => readiness(one), { timeout: 60_000 }).toBe(200);
  }
});

test("PostgreSQL stops under load: no attempt is used up, each patient has its effect once, and both subscribers resume by themselves", async ({
  vhost,
  cleanup,
  skip,
}) => {
  const outageMs = 5_000;
  const patients = Array.from({ length: 95 }, () => newPatient());
  const { server, reason } = await startPostgres({ from: ["container", "machine"], env: {} });
  if (server === undefined) {
    skip(reason);
    return;
  }
  cleanup(server);
  const registry = cleanup(await connectRegistry(vhost.url));
  const env = { DATABASE_URL: server.url, AMQP_URL: vhost.url };
  const booking = await startSubscriber(cleanup, scheduling, env);
  const counting = await startSubscriber(cleanup, reporting, env);
  const all = [booking, counting, await startSubscriber(cleanup, reporting, env)];
  const load = async (): Promise<void> => {
    for (const patient of patients) {
      await registry.notify(patientAdded, patient);
      await sleep(outageMs / 50);
    }
  };
  const loaded = load();
  await expect.poll(() => outcomesOf(booking).handled).toBeGreaterThan(5);

  await server.stop();
  for (const one of all) {
    await expect.poll(() => pauses(one)).toBe(1);
    await expect.poll(() => readiness(one)).toBe(503);
    expect((await fetch(`${one.process.url}/livez`)).status).toBe(200);
  }
  await sleep(outageMs);
  const { handled } = outcomesOf(booking);
  await server.start();
  const startedAt = performance.now();
  await expect.poll(() => outcomesOf(booking).handled).toBeGreaterThan(handled);
  // A subscriber checks after a tenth of the outage, at least half a second; the rest is for a busy machine
  expect(performance.now() - startedAt).toBeLessThan(5_000);
  for (const one of all) await expect.poll(() => readiness(one)).toBe(200);

  await loaded;
  for (const one of [booking, counting]) await expect.poll(() => patientCount(one)).toBe(patients.length);
  // Requeued messages keep their place in the queue
  expect(await patientsBooked(booking)).toEqual(patients.map(({ patientId }) => patientId));
  const total = all.map((one) => outcomesOf(one).handled).reduce((sum, count) => sum + count, 0);
  expect(total).toBe(2 * patients.length);
  expect(all.flatMap(messagesOf)).not.toContain("handler failed");
  expect(all.map(pauses)).toEqual([1, 1, 1]);
  for (const { subscriber } of [booking, counting]) {
    const queues = (await vhost.management.queues(vhost.name)).filter(({ name }) =>
      name.startsWith(queueOf(subscriber)),
    );
    // The subscription's queue, its .dead queue, and five delay queues
    expect(queues).toHaveLength(7);
    const waiting = async (): Promise<(number | undefined)[]> =>
      Promise.all(queues.map(async ({ name }) => (await vhost.management.queue(vhost.name, name))?.messages));
    await expect.poll(waiting).toEqual([0, 0, 0, 0, 0, 0, 0]);
  }
});

test("The link to the database is dead: both subscribers are not ready, stop in time, and the next run handles the patient", async ({
  vhost,
  database,
  cleanup,
}) => {
  const proxy = cleanup(await startProxy(database.url));
  const registry = cleanup(await connectRegistry(vhost.url));
  const both = await startBoth(cleanup, { DATABASE_URL: proxy.url, AMQP_URL: vhost.url });
  proxy.freeze();
  await registry.notify(patientAdded, newPatient());
  for (const one of both) {
    await expect.poll(() => readiness(one)).toBe(503);
    const { code, ms } = await one.process.stop();
    expect(code).toBe(0);
    expect(ms).toBeLessThan(8_000);
  }
  for (const one of await startBoth(cleanup, { DATABASE_URL: database.url, AMQP_URL: vhost.url })) {
    await expect.poll(() => patientCount(one)).toBe(1);
  }
});

function pauses(one: Running): number {
  return messagesOf(one).filter((message) => message === "subscription paused: a dependency is unavailable").length;
}

async function patientsBooked({ process }: Running): Promise<string[]> {
  const appointments = (await (await fetch(`${process.url}/appointments`)).json()) as { patientId: string }[];
  return appointments.map(({ patientId }) => patientId);
}
