import { setTimeout as sleep } from "node:timers/promises";
import { patientAdded } from "@amqp-idioms/contracts";
import { startPostgres } from "@amqp-idioms/local-servers";
import { expect } from "vitest";
import { connectRegistry, counted, newPatient, onPostgres as test, queue, startReporting } from "./reporting.ts";

test("PostgreSQL stopped for a while under load: no attempt is used up, and each patient is counted once", async ({
  vhost,
  cleanup,
  skip,
}) => {
  const awayMs = 3_000;
  const { server, reason } = await startPostgres({ from: ["container", "machine"], env: {} });
  if (server === undefined) {
    skip(reason);
    return;
  }
  cleanup(server);
  const registry = cleanup(await connectRegistry(vhost.url));
  const env = { DATABASE_URL: server.url, AMQP_URL: vhost.url };
  const [one, other] = [cleanup(await startReporting(env)), cleanup(await startReporting(env))];
  const said = (msg: string): number =>
    [...one.lines, ...other.lines].filter(({ json }) => json?.["msg"] === msg).length;
  const ready = async (): Promise<number> => (await fetch(`${one.url}/readyz`)).status;
  const load = async (): Promise<void> => {
    for (let sent = 0; sent < 200; sent++) {
      await registry.notify(patientAdded, newPatient());
      await sleep(awayMs / 75);
    }
  };
  const loaded = load();
  await expect.poll(() => said("registration counted")).toBeGreaterThan(5);
  await server.stop();
  await expect.poll(() => said("subscription paused: a dependency is unavailable")).toBe(2);
  await expect.poll(ready).toBe(503);
  expect((await fetch(`${one.url}/livez`)).status).toBe(200);
  await sleep(awayMs);
  await server.start();
  await expect.poll(ready).toBe(200);
  await loaded;
  await expect.poll(() => counted(one)).toBe(200);
  expect(said("registration counted")).toBe(200);
  expect(said("handler failed")).toBe(0);
  const waiting = async (): Promise<(number | undefined)[]> =>
    (await vhost.management.queues(vhost.name))
      .filter(({ name }) => name.startsWith(queue))
      .map(({ messages }) => messages);
  // Its own, .dead and five for delays
  await expect.poll(waiting).toEqual([0, 0, 0, 0, 0, 0, 0]);
});

test("two replicas under 200 notifications count each patient once", async ({ vhost, storage, cleanup }) => {
  const env = { ...storage, AMQP_URL: vhost.url };
  const start = async () => cleanup(await startReporting(env));
  const registry = cleanup(await connectRegistry(vhost.url));
  const [one, other] = await Promise.all([start(), start()]);
  const patients = Array.from({ length: 100 }, () => newPatient());
  await Promise.all([...patients, ...patients].map((patient) => registry.notify(patientAdded, patient)));

  const handled = (): number =>
    [...one.lines, ...other.lines].filter(({ json }) => /counted/.test(String(json?.["msg"]))).length;
  await expect.poll(handled).toBe(200);
  expect(await counted(one)).toBe(100);
  expect(await counted(other)).toBe(100);
});
