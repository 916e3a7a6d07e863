import { patientAdded } from "@amqp-idioms/contracts";
import { test } from "@amqp-idioms/local-servers/vitest";
import { expect } from "vitest";
import { nextFreeSlot } from "../../src/appointments.ts";
import { appointments, connectRegistry, newPatient, patientsBooked, startScheduling } from "../scheduling.ts";

test("Books each new patient the next free half hour, shows the appointments of a day in order, and refuses invalid queries", async ({
  vhost,
  database,
  cleanup,
}) => {
  // 9:00 to 17:00 in this time zone are the evening before and the early morning in UTC
  const timeZone = "Pacific/Kiritimati";
  const registry = cleanup(await connectRegistry(vhost.url));
  const env = { DATABASE_URL: database.url, AMQP_URL: vhost.url, TIME_ZONE: timeZone };
  const scheduling = cleanup(await startScheduling(env));
  const patients = Array.from({ length: 40 }, () => newPatient());
  const before = new Date();
  for (const patient of patients) await registry.notify(patientAdded, patient);
  await expect.poll(() => patientsBooked(scheduling)).toEqual(patients.map(({ patientId }) => patientId));
  const after = new Date();

  const all = await appointments(scheduling);
  // A half hour may have begun between `before` and the booking
  const firstSlots = [before, after].map((now) => nextFreeSlot({ now, bookedUntil: undefined, timeZone }));
  expect(firstSlots.map(({ startsAt }) => startsAt.toISOString())).toContain(all[0]?.startsAt);
  for (const [index, { endsAt }] of all.slice(0, -1).entries()) {
    const next = nextFreeSlot({ now: before, bookedUntil: new Date(endsAt), timeZone });
    expect(all[index + 1]).toMatchObject({
      startsAt: next.startsAt.toISOString(),
      endsAt: next.endsAt.toISOString(),
    });
  }

  const dateOf = ({ startsAt }: { startsAt: string }): string =>
    new Intl.DateTimeFormat("sv-SE", { timeZone, dateStyle: "short" }).format(new Date(startsAt));
  const dates = [...new Set(all.map(dateOf))];
  expect(dates.length).toBeGreaterThanOrEqual(3);
  for (const date of dates) {
    expect(await appointments(scheduling, date)).toEqual(all.filter((one) => dateOf(one) === date));
  }
  expect(await appointments(scheduling, "1999-12-31")).toEqual([]);

  await expectInvalidQueriesRefused(scheduling.url);
});

/** The responses name the fields and the rules. */
async function expectInvalidQueriesRefused(url: string): Promise<void> {
  const faults = async (query: string): Promise<unknown> => {
    const response = await fetch(`${url}/appointments?${query}`);
    expect(response.status).toBe(400);
    expect(response.headers.get("content-type")).toMatch("application/problem+json");
    return ((await response.json()) as { errors: unknown }).errors;
  };
  const notADay = [{ path: "date", rule: "must be a day, YYYY-MM-DD" }];
  expect(await faults("date=tomorrow")).toEqual(notADay);
  expect(await faults("date=")).toEqual(notADay);
  expect(await faults("date=2026-02-29")).toEqual(notADay);
  expect(await faults("date=2026-01-01&date=2026-01-02")).toEqual(notADay);
  expect(await faults("date=0000-01-01")).toEqual([{ path: "date", rule: "must lie in the years 1900 to 2999" }]);
  expect(await faults("day=2026-01-01")).toEqual([{ path: "", rule: expect.stringContaining("day") }]);
  expect((await fetch(`${url}/nothing`)).status).toBe(404);
}
