import { patientAdded } from "@amqp-idioms/contracts";
import { test } from "@amqp-idioms/local-servers/vitest";
import { expect } from "vitest";
import { appointments, connectRegistry, newPatient, startScheduling } from "./scheduling.ts";

const storage = { DATA_DIR: "memory://" };

test("shows the appointments of one day by the clinic's clock, in their order", async ({ vhost, cleanup }) => {
  // 9 to 17 there is the evening before and the small hours in UTC
  const timeZone = "Pacific/Kiritimati";
  const registry = cleanup(await connectRegistry(vhost.url));
  const scheduling = cleanup(await startScheduling({ ...storage, AMQP_URL: vhost.url, TIME_ZONE: timeZone }));
  const patients = Array.from({ length: 40 }, () => newPatient());
  for (const patient of patients) await registry.notify(patientAdded, patient);
  await expect.poll(async () => (await appointments(scheduling)).length).toBe(40);

  const all = await appointments(scheduling);
  const dateOf = ({ startsAt }: { startsAt: string }): string =>
    new Intl.DateTimeFormat("sv-SE", { timeZone, dateStyle: "short" }).format(new Date(startsAt));
  const dates = [...new Set(all.map(dateOf))];
  expect(dates.length).toBeGreaterThanOrEqual(3);
  for (const date of dates) {
    expect(await appointments(scheduling, date)).toEqual(all.filter((one) => dateOf(one) === date));
  }
  expect(all.map(({ patientId }) => patientId)).toEqual(patients.map(({ patientId }) => patientId));
  expect(await appointments(scheduling, "1999-12-31")).toEqual([]);
});

test("a query that it does not understand is refused with the fields and the rules", async ({ vhost, cleanup }) => {
  cleanup(await connectRegistry(vhost.url));
  const scheduling = cleanup(await startScheduling({ ...storage, AMQP_URL: vhost.url }));
  const faults = async (query: string): Promise<unknown> => {
    const response = await fetch(`${scheduling.url}/appointments?${query}`);
    expect(response.status).toBe(400);
    expect(response.headers.get("content-type")).toMatch("application/problem+json");
    return ((await response.json()) as { errors: unknown }).errors;
  };
  expect(await faults("date=tomorrow")).toEqual([{ path: "date", rule: "must be a day, YYYY-MM-DD" }]);
  expect(await faults("date=")).toEqual([{ path: "date", rule: "must be a day, YYYY-MM-DD" }]);
  expect(await faults("date=2026-02-29")).toEqual([{ path: "date", rule: "must be a day, YYYY-MM-DD" }]);
  expect(await faults("date=2026-01-01&date=2026-01-02")).toEqual([
    { path: "date", rule: "must be a day, YYYY-MM-DD" },
  ]);
  expect(await faults("date=0000-01-01")).toEqual([{ path: "date", rule: "must lie in the years 1900 to 2999" }]);
  expect(await faults("day=2026-01-01")).toEqual([{ path: "", rule: expect.stringContaining("day") }]);
  expect((await fetch(`${scheduling.url}/nothing`)).status).toBe(404);
});
