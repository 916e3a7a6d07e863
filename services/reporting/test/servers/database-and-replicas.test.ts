import { patientAdded } from "@amqp-idioms/contracts";
import { startProxy } from "@amqp-idioms/local-servers";
import { expect } from "vitest";
import { connectRegistry, counted, newPatient, onPostgres as test, startReporting } from "./reporting.ts";

test("while the database is away it is not ready; what came meanwhile is tried again, and counted", async ({
  vhost,
  database,
  cleanup,
}) => {
  const proxy = cleanup(await startProxy(database.url));
  const registry = cleanup(await connectRegistry(vhost.url));
  const reporting = cleanup(await startReporting({ DATABASE_URL: proxy.url, AMQP_URL: vhost.url }));
  const ready = async (): Promise<number> => (await fetch(`${reporting.url}/readyz`)).status;
  await expect.poll(ready).toBe(200);

  proxy.refuse();
  proxy.cut();
  await registry.notify(patientAdded, newPatient());
  await registry.notify(patientAdded, newPatient());
  await expect.poll(ready).toBe(503);
  expect((await fetch(`${reporting.url}/livez`)).status).toBe(200);
  await expect.poll(() => reporting.lines.some(({ json }) => json?.["msg"] === "the handler failed")).toBe(true);

  proxy.accept();
  await expect.poll(ready).toBe(200);
  await expect.poll(() => counted(reporting)).toBe(2);
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
