import { patientAdded } from "@amqp-idioms/contracts";
import { expect } from "vitest";
import { connectRegistry, newPatient, onPglite as test, patientsBooked, startScheduling } from "./scheduling.ts";

test("the broker restarts: it comes back by itself, and books what was kept", async ({
  ownBroker,
  storage,
  cleanup,
}) => {
  const registry = cleanup(await connectRegistry(ownBroker.url));
  const scheduling = cleanup(await startScheduling({ ...storage, AMQP_URL: ownBroker.url }));
  const [before, after] = [newPatient(), newPatient()];
  await registry.notify(patientAdded, before);
  await expect.poll(() => patientsBooked(scheduling)).toEqual([before.patientId]);

  await ownBroker.restart();
  await expect
    .poll(() => registry.notify(patientAdded, after).then(() => "confirmed"), { timeout: 60_000 })
    .toBe("confirmed");
  await expect.poll(() => patientsBooked(scheduling), { timeout: 60_000 }).toEqual([before.patientId, after.patientId]);
  await expect.poll(async () => (await fetch(`${scheduling.url}/readyz`)).status, { timeout: 60_000 }).toBe(200);
});

test("SIGTERM in the middle of the work: it ends in good order, and loses and doubles nothing", async ({
  vhost,
  storage,
  cleanup,
}) => {
  const env = { ...storage, AMQP_URL: vhost.url };
  const registry = cleanup(await connectRegistry(vhost.url));
  const patients = Array.from({ length: 50 }, () => newPatient());
  for (const patient of patients) await registry.notify(patientAdded, patient);

  const stopped = cleanup(await startScheduling(env));
  await expect.poll(() => stopped.lines.some(({ json }) => json?.["msg"] === "appointment booked")).toBe(true);
  const { code, ms } = await stopped.stop();
  expect(code).toBe(0);
  expect(ms).toBeLessThan(8_000);

  const next = cleanup(await startScheduling(env));
  // Up to 3.13 what comes back to a quorum queue comes last
  const booked = async () => (await patientsBooked(next)).toSorted();
  await expect.poll(booked).toEqual(patients.map(({ patientId }) => patientId).toSorted());
});

test("started before its notifier ever ran, it says what it waits for, and is ready when that has come", async ({
  vhost,
  storage,
  cleanup,
}) => {
  const env = { ...storage, AMQP_URL: vhost.url };
  const scheduling = cleanup(await startScheduling(env, { waitForReady: false }));
  const said = () => scheduling.lines.map(({ json }) => json?.["msg"]);
  await expect.poll(said, { timeout: 60_000 }).toContain("the notifier's exchange does not exist yet");
  expect(said()).not.toContain("ready");

  const registry = cleanup(await connectRegistry(vhost.url));
  await expect.poll(said).toContain("ready");
  await registry.notify(patientAdded, newPatient());
  await expect.poll(said).toContain("appointment booked");
});

test("a second process on the same embedded database is refused", async ({ vhost, storage, cleanup }) => {
  const env = { ...storage, AMQP_URL: vhost.url };
  cleanup(await connectRegistry(vhost.url));
  cleanup(await startScheduling(env));
  const second = cleanup(await startScheduling(env, { waitForReady: false }));
  expect(await second.exited).toMatchObject({ code: 1 });
  const codes = second.lines.map(({ json }) => json?.["err"]);
  expect(codes).toContainEqual(expect.objectContaining({ code: "DATABASE_FOLDER_IN_USE" }));
});
