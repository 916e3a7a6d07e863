import { randomUUID } from "node:crypto";
import { expect } from "vitest";
import { heard, test } from "../roles.ts";

const patient = (given: string) => ({
  patientId: randomUUID(),
  given,
  surname: "Smith",
  birthDate: null,
  registeredAt: "2026-03-02T09:00:00Z",
});

test("a Python subscriber of a name of its own gets every notification, also those sent while it was down", async ({
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
  await expect.poll(() => heard(firstRun)).toEqual([ann]);
  expect(await firstRun.stop({ signal: "SIGINT" })).toMatchObject({ code: 0 });

  const missed = [await add("Ben"), await add("Cleo")];
  const secondRun = await python.start("notify_subscribe.py", "billing");
  const dora = await add("Dora");
  await expect.poll(() => heard(secondRun)).toEqual([...missed, dora]);
});

test("a Python notifier's text that is not JSON is set aside, not lost, and the one behind it is handled", async ({
  python,
  service,
  vhost,
}) => {
  // Whoever comes first declares the exchange
  await python.start("notify_subscribe.py", "billing");
  const reporting = await service("reporting");
  expect(await python.run("notify_send.py")).toMatchObject({ code: 0 });
  expect(await python.run("notify_send.py", JSON.stringify(patient("Ann")))).toMatchObject({ code: 0 });

  const days = "from=2026-03-02&to=2026-03-02";
  await expect
    .poll(async () => (await fetch(`${reporting.url}/reports/registrations?${days}`)).json())
    .toMatchObject({ days: [{ date: "2026-03-02", count: 1 }] });
  const setAside = await vhost.management.getMessages(vhost.name, "notify.patient.add.reporting.dead");
  expect(setAside).toMatchObject([
    { payload: "given:John\nsurname:Smith", properties: { content_type: "text/plain", delivery_mode: 2 } },
  ]);
  const reason = Object.entries(setAside[0]?.properties.headers ?? {}).map((header) => header.join(": "));
  expect(reason.join("\n")).toMatch(/^amqp-kit-.*content type/m);
});

test("each notifier reaches subscribers in both languages", async ({ python, typescript }) => {
  // Started first, the Python subscriber declares the exchange
  const subscribers = [
    await python.start("notify_subscribe.py", "billing"),
    await typescript.start("notify-subscribe.ts"),
  ];
  const ann = patient("Ann");
  expect(await python.run("notify_send.py", JSON.stringify(ann))).toMatchObject({ code: 0 });
  expect(await typescript.run("notify-send.ts")).toMatchObject({ code: 0 });
  for (const subscriber of subscribers) {
    await expect
      .poll(() => heard(subscriber))
      .toEqual([`Ann Smith, ${ann.patientId}`, expect.stringMatching(/^John Smith, /)]);
    expect(await subscriber.stop({ signal: "SIGINT" })).toMatchObject({ code: 0 });
  }
});

test("a Python notifier learns that no queue takes its notification", async ({ python }) => {
  const { code, stderr } = await python.run("notify_send.py");
  expect(code).toBe(1);
  expect(stderr).toContain("NO_ROUTE");
});
