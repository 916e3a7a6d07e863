import { expect } from "vitest";
import { linesOf, test } from "../roles.ts";

test("A Python subscriber receives every notification, including those sent while it was down", async ({
  python,
  service,
}) => {
  await service("patient-registry");
  const add = async (given: string): Promise<string> => {
    const { stdout } = await python.run("request_send.py", JSON.stringify({ given, surname: "Smith" }));
    return `${given} Smith, ${JSON.parse(stdout).patientId}`;
  };
  const firstRun = await python.start("notify_subscribe.py", "billing");
  const ann = await add("Ann");
  await expect.poll(() => linesOf(firstRun)).toEqual([ann]);
  expect(await firstRun.stop({ signal: "SIGINT" })).toMatchObject({ code: 0 });

  const missed = [await add("Ben"), await add("Cleo")];
  const secondRun = await python.start("notify_subscribe.py", "billing");
  const dora = await add("Dora");
  await expect.poll(() => linesOf(secondRun)).toEqual([...missed, dora]);
});

test("reporting dead-letters a Python notification that is not JSON, and handles the one behind it", async ({
  python,
  service,
  vhost,
}) => {
  // reporting waits until the exchange exists, and the Python subscriber declares it
  await python.start("notify_subscribe.py", "billing");
  const reporting = await service("reporting");
  const ann = {
    patientId: "0b6e9ad4-6a9f-4a6c-9f0e-0d9f3a0a1c11",
    given: "Ann",
    surname: "Smith",
    birthDate: null,
    registeredAt: "2026-03-02T09:00:00Z",
  };
  expect(await python.run("notify_send.py")).toMatchObject({ code: 0 });
  expect(await python.run("notify_send.py", JSON.stringify(ann))).toMatchObject({ code: 0 });

  const days = "from=2026-03-02&to=2026-03-02";
  await expect
    .poll(async () => (await fetch(`${reporting.url}/reports/registrations?${days}`)).json())
    .toMatchObject({ days: [{ date: "2026-03-02", count: 1 }] });
  const deadLetters = await vhost.management.getMessages(vhost.name, "notify.patient.add.reporting.dead");
  expect(deadLetters).toMatchObject([
    { payload: "given:John\nsurname:Smith", properties: { content_type: "text/plain", delivery_mode: 2 } },
  ]);
  const headers = Object.entries(deadLetters[0]?.properties.headers ?? {}).map((header) => header.join(": "));
  expect(headers.join("\n")).toMatch(/^amqp-kit-.*content type/m);
});

test("A Python notifier gets NO_ROUTE when no queue is bound to the exchange", async ({ python }) => {
  const { code, stderr } = await python.run("notify_send.py");
  expect(code).toBe(1);
  expect(stderr).toContain("NO_ROUTE");
});
