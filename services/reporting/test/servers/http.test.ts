import { patientAdded } from "@amqp-idioms/contracts";
import { test as base } from "@amqp-idioms/local-servers/vitest";
import { expect } from "vitest";
import { connectRegistry, counted, newPatient, report, startReporting } from "./reporting.ts";

/** The service and its notifier, started once for this file. Each test uses its own month. */
const test = base
  .extend("started", { scope: "file" }, async ({ vhostOfFile, databaseOfFileOrReason: { url }, cleanupOfFile }) => {
    if (url === undefined) return undefined;
    const registry = cleanupOfFile(await connectRegistry(vhostOfFile.url));
    const service = cleanupOfFile(await startReporting({ DATABASE_URL: url, AMQP_URL: vhostOfFile.url }));
    return { registry, service };
  })
  .extend("reporting", ({ started, databaseOfFile: { url } }) => {
    if (started === undefined) throw new Error(`not started on ${url}`);
    return started;
  });

test("Counts each new patient on the day and in the age band of the registration", async ({
  reporting: { registry, service },
}) => {
  const patients = [
    newPatient({ birthDate: "2003-06-02" }), // 18 tomorrow
    newPatient({ birthDate: "2003-06-01" }), // 18 today
    newPatient({ birthDate: "2003-06-02", registeredAt: "2021-06-01T23:30:00Z" }), // 0:30 on 2 June in London
    newPatient({ birthDate: "1956-06-01" }),
    newPatient({ birthDate: null }),
    newPatient({ registeredAt: "2021-05-31T22:59:59Z" }), // a second before June begins in London
  ];
  for (const patient of patients) await registry.notify(patientAdded, patient);
  await expect.poll(() => counted(service)).toBe(5);
  expect(await report(service)).toEqual({
    days: [
      { date: "2021-06-01", count: 4 },
      { date: "2021-06-02", count: 1 },
    ],
    ageBands: [
      { band: "0-17", count: 1 },
      { band: "18-39", count: 2 },
      { band: "40-64", count: 0 },
      { band: "65+", count: 1 },
      { band: "unknown", count: 1 },
    ],
  });
  await expect
    .poll(async () => (await report(service, "from=2021-05-31&to=2021-05-31")).days)
    .toEqual([{ date: "2021-05-31", count: 1 }]);
});

test("Answers in JSON or CSV as format or the Accept header asks, and 406 to any other type", async ({
  reporting: { registry, service },
}) => {
  const registeredAt = "2021-07-01T11:00:00.000Z";
  await registry.notify(patientAdded, newPatient({ registeredAt }));
  await registry.notify(patientAdded, newPatient({ registeredAt, birthDate: null }));
  const query = "from=2021-07-01&to=2021-07-01";
  await expect.poll(async () => (await report(service, query)).days[0]?.count).toBe(2);

  const get = async (accept: string, more = "") => {
    const response = await fetch(`${service.url}/reports/registrations?${query}${more}`, { headers: { accept } });
    const type = response.headers.get("content-type")?.split(";")[0];
    const file = response.headers.get("content-disposition");
    return { status: response.status, type, vary: response.headers.get("vary"), file, text: await response.text() };
  };
  const csv = "date,band,count\n2021-07-01,40-64,1\n2021-07-01,unknown,1\n";
  expect(await get("text/csv")).toEqual({ status: 200, type: "text/csv", vary: "accept", file: null, text: csv });
  expect((await get("application/json;q=0.5, text/csv")).text).toBe(csv);
  expect((await get("text/*")).text).toBe(csv);
  for (const accept of [
    "text/csv; charset=utf-8",
    'text/csv;charset="UTF-8";q=0.9',
    "text/csv;charset=utf-8, */*;q=0.1",
  ]) {
    expect(await get(accept)).toMatchObject({ status: 200, type: "text/csv", text: csv });
  }
  for (const accept of [
    "application/json",
    "*/*",
    "text/csv;q=0.5, application/json",
    "application/*",
    "application/json; charset=utf-8",
  ]) {
    expect(await get(accept)).toMatchObject({ status: 200, type: "application/json", vary: "accept" });
  }
  for (const accept of ["text/csv; charset=utf-16", "text/csv; header=absent"]) {
    expect(await get(accept)).toMatchObject({ status: 406 });
  }
  const browser = "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8";
  const file = 'attachment; filename="registrations-2021-07-01-to-2021-07-01.csv"';
  expect(await get(browser, "&format=csv")).toMatchObject({ status: 200, type: "text/csv", file, text: csv });
  expect(await get("text/csv", "&format=json")).toMatchObject({ status: 200, type: "application/json", file: null });
  const refused = await get("application/xml");
  expect(refused).toMatchObject({ status: 406, type: "application/problem+json" });
  expect(JSON.parse(refused.text)).toMatchObject({ status: 406, code: "not_acceptable" });
});

test("from and to are inclusive; without them the report covers the last 30 days", async ({
  reporting: { registry, service },
}) => {
  for (const day of ["2021-08-01", "2021-08-02", "2021-08-03", "2021-08-04"]) {
    await registry.notify(patientAdded, newPatient({ registeredAt: `${day}T12:00:00Z` }));
  }
  await registry.notify(patientAdded, newPatient({ registeredAt: new Date().toISOString() }));
  await expect.poll(async () => (await report(service, "")).days.map(({ count }) => count)).toEqual([1]);

  const daysOf = async (query: string) => (await report(service, query)).days.map(({ date }) => date);
  expect(await daysOf("from=2021-08-02&to=2021-08-03")).toEqual(["2021-08-02", "2021-08-03"]);
  expect(await daysOf("from=2021-08-04&to=2021-08-04")).toEqual(["2021-08-04"]);
  expect(await daysOf("from=2021-09-01&to=2021-09-30")).toEqual([]);
});

test("An invalid query gets 400 with the fields and the rules", async ({ reporting: { service } }) => {
  const faults = async (query: string): Promise<unknown> => {
    const response = await fetch(`${service.url}/reports/registrations?${query}`);
    expect(response.status).toBe(400);
    expect(response.headers.get("content-type")).toMatch("application/problem+json");
    return ((await response.json()) as { errors: unknown }).errors;
  };
  expect(await faults("from=yesterday&to=2026-02-29")).toEqual([
    { path: "from", rule: "must be a day, YYYY-MM-DD" },
    { path: "to", rule: "must be a day, YYYY-MM-DD" },
  ]);
  for (const query of ["format=xml", "format=", "format=csv&format=json"]) {
    expect(await faults(query)).toEqual([{ path: "format", rule: "must be json or csv" }]);
  }
  expect(await faults("from=2021-06-02&to=2021-06-01")).toEqual([
    { path: "from", rule: "must not be after to, which defaults to today" },
  ]);
  expect(await faults("from=1900-01-01&to=2021-06-01")).toEqual([
    { path: "to", rule: "must lie within 3660 days of from" },
  ]);
});
