import { patientAdded } from "@amqp-idioms/contracts";
import type { PatientAdded } from "@amqp-idioms/contracts";
import type { ServiceProcess } from "@amqp-idioms/local-servers";
import { Temporal } from "temporal-polyfill";
import { expect } from "vitest";
import { nextFreeSlot } from "../../src/appointments.ts";
import {
  appointments,
  connectRegistry,
  newPatient,
  onPostgres as test,
  publish,
  startScheduling,
} from "./scheduling.ts";
import type { ShownAppointment } from "./scheduling.ts";

// Two processes on one database: PostgreSQL only

const timeZone = "Europe/London";

test("two replicas book 200 patients: nobody twice, no slot twice, none left free", async ({
  vhost,
  storage,
  cleanup,
}) => {
  const start = async (): Promise<ServiceProcess> =>
    cleanup(await startScheduling({ ...storage, AMQP_URL: vhost.url, TIME_ZONE: timeZone }));
  // At the same time, on an empty database: they also agree on who makes its tables
  const registry = cleanup(await connectRegistry(vhost.url));
  const [one, other] = await Promise.all([start(), start()]);
  const patients = Array.from({ length: 200 }, () => newPatient());
  await Promise.all(patients.map((patient) => registry.notify(patientAdded, patient)));

  await expect.poll(async () => (await allAppointments(one)).length, { interval: 250 }).toBe(200);
  expectEachOnceWithoutGaps(await allAppointments(other), patients);
  // Both had their share: else this would show nothing
  for (const replica of [one, other]) expect(booked(replica)).toBeGreaterThan(20);
});

test("two replicas that get one patient at the same time, without a message id, book once (pitfall 58)", async ({
  vhost,
  storage,
  cleanup,
}) => {
  const start = async (): Promise<ServiceProcess> =>
    cleanup(await startScheduling({ ...storage, AMQP_URL: vhost.url, TIME_ZONE: timeZone }));
  cleanup(await connectRegistry(vhost.url));
  const [one, other] = await Promise.all([start(), start()]);
  const patients = Array.from({ length: 30 }, () => newPatient());
  const properties = { content_type: "application/json" };
  // The broker hands neighbours in the queue to the two replicas in turn
  for (const patient of patients) {
    const body = JSON.stringify(patient);
    await Promise.all([publish(vhost, body, properties), publish(vhost, body, properties)]);
  }
  await expect.poll(() => booked(one) + booked(other) + refused(one) + refused(other)).toBe(60);
  expectEachOnceWithoutGaps(await allAppointments(one), patients);
  expect(booked(one) + booked(other)).toBe(30);
});

test("when one of two replicas is killed in the middle, the other books what it had in hand", async ({
  vhost,
  storage,
  cleanup,
}) => {
  const start = async (): Promise<ServiceProcess> =>
    cleanup(await startScheduling({ ...storage, AMQP_URL: vhost.url, TIME_ZONE: timeZone }));
  const registry = cleanup(await connectRegistry(vhost.url));
  const [doomed, other] = await Promise.all([start(), start()]);
  const patients = Array.from({ length: 100 }, () => newPatient());
  const notified = Promise.all(patients.map((patient) => registry.notify(patientAdded, patient)));
  await expect.poll(() => booked(doomed)).toBeGreaterThan(10);
  await doomed.kill();
  await notified;

  await expect.poll(async () => (await allAppointments(other)).length, { interval: 250 }).toBe(100);
  expectEachOnceWithoutGaps(await allAppointments(other), patients);
  expect(booked(doomed)).toBeLessThan(100);
});

function booked(service: ServiceProcess): number {
  return service.lines.filter(({ json }) => json?.["msg"] === "appointment booked").length;
}

function refused(service: ServiceProcess): number {
  return service.lines.filter(({ json }) => json?.["msg"] === "already booked, nothing to do").length;
}

/** Every day's, from today on, until two weeks have none. */
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
