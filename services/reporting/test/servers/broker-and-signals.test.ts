import { patientAdded } from "@amqp-idioms/contracts";
import { expect } from "vitest";
import { connectRegistry, counted, newPatient, onPglite as test, startReporting } from "./reporting.ts";

test("the broker restarts: it comes back by itself, and counts what was kept", async ({
  ownBroker,
  storage,
  cleanup,
}) => {
  const registry = cleanup(await connectRegistry(ownBroker.url));
  const reporting = cleanup(await startReporting({ ...storage, AMQP_URL: ownBroker.url }));
  await registry.notify(patientAdded, newPatient());
  await expect.poll(() => counted(reporting)).toBe(1);

  await ownBroker.restart();
  const patient = newPatient();
  const notified = async (): Promise<string> => {
    await registry.notify(patientAdded, patient);
    return "confirmed";
  };
  await expect.poll(notified, { timeout: 60_000 }).toBe("confirmed");
  await expect.poll(() => counted(reporting), { timeout: 60_000 }).toBe(2);
  await expect.poll(async () => (await fetch(`${reporting.url}/readyz`)).status, { timeout: 60_000 }).toBe(200);
});

test("SIGTERM in the middle of the work: it ends in good order, and loses and doubles nothing", async ({
  vhost,
  storage,
  cleanup,
}) => {
  const env = { ...storage, AMQP_URL: vhost.url };
  const registry = cleanup(await connectRegistry(vhost.url));
  for (let n = 0; n < 50; n += 1) await registry.notify(patientAdded, newPatient());

  const stopped = cleanup(await startReporting(env));
  await expect.poll(() => stopped.lines.some(({ json }) => json?.["msg"] === "registration counted")).toBe(true);
  const { code, ms } = await stopped.stop();
  expect(code).toBe(0);
  expect(ms).toBeLessThan(8_000);

  const next = cleanup(await startReporting(env));
  await expect.poll(() => counted(next)).toBe(50);
});
