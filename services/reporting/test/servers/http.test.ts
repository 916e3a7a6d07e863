import { patientAdded } from "@amqp-idioms/contracts";
import { test } from "@amqp-idioms/local-servers/vitest";
import { expect } from "vitest";
import { connectRegistry, counted, newPatient, report, startReporting } from "./reporting.ts";

const storage = { DATA_DIR: "memory://" };

test("answers in JSON or CSV as Accept says, and 406 to anything else", async ({ vhost, cleanup }) => {
  const registry = cleanup(await connectRegistry(vhost.url));
  const reporting = cleanup(await startReporting({ ...storage, AMQP_URL: vhost.url }));
  await registry.notify(patientAdded, newPatient());
  await registry.notify(patientAdded, newPatient({ birthDate: null }));
  await expect.poll(() => counted(reporting)).toBe(2);

  const url = `${reporting.url}/reports/registrations?from=2021-06-01&to=2021-06-01`;
  const ask = async (accept: string) => {
    const response = await fetch(url, { headers: { accept } });
    const type = response.headers.get("content-type")?.split(";")[0];
    return { status: response.status, type, vary: response.headers.get("vary"), text: await response.text() };
  };
  const csv = "date,band,count\n2021-06-01,40-64,1\n2021-06-01,unknown,1\n";
  expect(await ask("text/csv")).toEqual({ status: 200, type: "text/csv", vary: "accept", text: csv });
  expect((await ask("application/json;q=0.5, text/csv")).text).toBe(csv);
  expect((await ask("text/*")).text).toBe(csv);
  for (const accept of ["application/json", "*/*", "text/csv;q=0.5, application/json", "application/*"]) {
    expect(await ask(accept)).toMatchObject({ status: 200, type: "application/json", vary: "accept" });
  }
  const refused = await ask("application/xml");
  expect(refused).toMatchObject({ status: 406, type: "application/problem+json" });
  expect(JSON.parse(refused.text)).toMatchObject({ status: 406, code: "not_acceptable" });
});

test("from and to are inclusive; without them it reports the last 30 days", async ({ vhost, cleanup }) => {
  const registry = cleanup(await connectRegistry(vhost.url));
  const reporting = cleanup(await startReporting({ ...storage, AMQP_URL: vhost.url }));
  const days = ["2021-06-01", "2021-06-02", "2021-06-03", "2021-06-04"];
  for (const day of days) {
    await registry.notify(patientAdded, newPatient({ registeredAt: `${day}T12:00:00Z` }));
  }
  await registry.notify(patientAdded, newPatient({ registeredAt: new Date().toISOString() }));
  await expect.poll(async () => (await report(reporting, "")).days.map(({ count }) => count)).toEqual([1]);

  const daysOf = async (query: string) => (await report(reporting, query)).days.map(({ date }) => date);
  expect(await daysOf("from=2021-06-02&to=2021-06-03")).toEqual(["2021-06-02", "2021-06-03"]);
  expect(await daysOf("from=2021-06-04&to=2021-06-04")).toEqual(["2021-06-04"]);
  expect(await daysOf("from=2021-05-01&to=2021-05-31")).toEqual([]);
});

test("a query that it does not understand is refused with the fields and the rules", async ({ vhost, cleanup }) => {
  cleanup(await connectRegistry(vhost.url));
  const reporting = cleanup(await startReporting({ ...storage, AMQP_URL: vhost.url }));
  const faults = async (query: string): Promise<unknown> => {
    const response = await fetch(`${reporting.url}/reports/registrations?${query}`);
    expect(response.status).toBe(400);
    expect(response.headers.get("content-type")).toMatch("application/problem+json");
    return ((await response.json()) as { errors: unknown }).errors;
  };
  expect(await faults("from=yesterday&to=2026-02-29")).toEqual([
    { path: "from", rule: "must be a day, YYYY-MM-DD" },
    { path: "to", rule: "must be a day, YYYY-MM-DD" },
  ]);
  expect(await faults("from=2021-06-02&to=2021-06-01")).toEqual([
    { path: "from", rule: "must not lie after to, which is today if left out" },
  ]);
  expect(await faults("from=1900-01-01&to=2021-06-01")).toEqual([
    { path: "to", rule: "must lie within 3660 days of from" },
  ]);
});
