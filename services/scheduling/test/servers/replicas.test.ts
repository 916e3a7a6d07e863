import { patientAdded } from "@amqp-idioms/contracts";
import type { PatientAdded } from "@amqp-idioms/contracts";
import type { ServiceProcess } from "@amqp-idioms/local-servers";
import { test } from "@amqp-idioms/local-servers/vitest";
import { Temporal } from "temporal-polyfill";
import { expect } from "vitest";
import { nextFreeSlot } from "../../src/appointments.ts";
import { appointments, connectRegistry, newPatient, publish, startScheduling } from "../scheduling.ts";
import type { ShownAppointment } from "../scheduling.ts";

const timeZone = "Europe/London";

test("Two replicas book 150 patients: nobody twice, no slot twice, no slot left free, even when one replica is killed", async ({
  vhost,
  database,
  cleanup,
}) => {
  const env = { DATABASE_URL: database.url, AMQP_URL: vhost.url, TIME_ZONE: timeZone };
  const start = async (): Promise<ServiceProcess> => cleanup(await startScheduling(env));
  const registry = cleanup(await connectRegistry(vhost.url));
  // Both start on an empty database, and agree on which of them creates the tables
  const [doomed, other] = await Promise.all([start(), start()]);
  const patients = Array.from({ length: 150 }, () => newPatient());
  const notified = Promise.all(patients.map((patient) => registry.notify(patientAdded, patient)));
  for (const replica of [doomed, other]) await expect.poll(() => booked(replica)).toBeGreaterThan(20);
  await doomed.kill();
  await notified;

  await expect.poll(async () => (await allAppointments(other)).length, { interval: 250 }).toBe(150);
  expectEachOnceWithoutGaps(await allAppointments(other), patients);
  expect(booked(doomed)).toBeLessThan(150);
});

test("Two replicas that get the same patient at the same time without a message id book once (pitfall 58)", async ({
  vhost,
  database,
  cleanup,
}) => {
  const env = { DATABASE_URL: database.url, AMQP_URL: vhost.url, TIME_ZONE: timeZone };
  const start = async (): Promise<ServiceProcess> => cleanup(await startScheduling(env));
  cleanup(await connectRegistry(vhost.url));
  const [one, other] = await Promise.all([start(), start()]);
  const patients = Array.from({ length: 30 }, () => newPatient());
  const properties = { content_type: "application/json" };
  // The broker delivers neighbours in the queue to the two replicas in turn
  for (const patient of patients) {
    const body = JSON.stringify(patient);
    await Promise.all([publish(vhost, body, properties), publish(vhost, body, properties)]);
  }
  await expect.poll(() => booked(one) + booked(other) + refused(one) + refused(other)).toBe(60);
  expectEachOnceWithoutGaps(await allAppointments(one), patients);
  expect(booked(one) + booked(other)).toBe(30);
});

function booked(service: ServiceProcess): number {
  return service.lines.filter(({ json }) => json?.["msg"] === "appointment booked").length;
}

function refused(service: ServiceProcess): number {
  return service.lines.filter(({ json }) => json?.["msg"] === "already booked, nothing to do").length;
}

/** All appointments from today on, until two weeks have none. */
async function allAppointments(service: ServiceProcess): Promise<ShownAppointment[]> {
  const found: ShownAppointment[] = [];
  let day = Temporal.Now.plainDateISO(timeZone);
  for (let daysWithout = 0; daysWithout < 14; day = day.add({ days: 1 })) {
    const ofDay = await appointments(service, day.toString());
    found.push(...ofDay);
    daysWithout = ofDay.length === 0 ? daysWithout + 1 : 0;
  }
  return found;
}

function expectEachOnceWithoutGaps(found: readonly ShownAppointment[], patients: readonly PatientAdded[]): void {
  expect(found.map(({ patientId }) => patientId).toSorted()).toEqual(
    patients.map(({ patientId }) => patientId).toSorted(),
  );
  const starts = found.map(({ startsAt }) => new Date(startsAt));
  for (const [index, { startsAt, endsAt }] of found.slice(0, -1).entries()) {
    const next = nextFreeSlot({ now: new Date(startsAt), bookedUntil: new Date(endsAt), timeZone });
    expect(starts[index + 1]).toEqual(next.startsAt);
  }
}
