import { randomUUID } from "node:crypto";
import { patientAdded } from "@amqp-idioms/contracts";
import { describe, expect } from "vitest";
import {
  connectRegistry,
  counted,
  newPatient,
  onPglite,
  onPostgres,
  publish,
  queue,
  report,
  startReporting,
} from "./reporting.ts";

const json = { content_type: "application/json" };

describe.each([
  ["PGlite", onPglite],
  ["PostgreSQL", onPostgres],
])("reporting on %s", (_, test) => {
  test("counts each new patient on the day and in the age band of the registration", async ({
    vhost,
    storage,
    cleanup,
  }) => {
    const registry = cleanup(await connectRegistry(vhost.url));
    const reporting = cleanup(await startReporting({ ...storage, AMQP_URL: vhost.url }));
    const patients = [
      newPatient({ birthDate: "2003-06-02" }), // 18 tomorrow
      newPatient({ birthDate: "2003-06-01" }), // 18 today
      newPatient({ birthDate: "2003-06-02", registeredAt: "2021-06-01T23:30:00Z" }), // half past midnight in London
      newPatient({ birthDate: "1956-06-01" }),
      newPatient({ birthDate: null }),
      newPatient({ registeredAt: "2021-05-31T22:59:59Z" }), // a second before the month begins
    ];
    for (const patient of patients) await registry.notify(patientAdded, patient);
    await expect.poll(() => counted(reporting)).toBe(5);
    expect(await report(reporting)).toEqual({
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
      .poll(async () => (await report(reporting, "from=2021-05-31&to=2021-05-31")).days)
      .toEqual([{ date: "2021-05-31", count: 1 }]);
  });

  test("two patients under one message id, from a sender that counts anew, are both counted", async ({
    vhost,
    storage,
    cleanup,
  }) => {
    const registry = cleanup(await connectRegistry(vhost.url));
    const reporting = cleanup(await startReporting({ ...storage, AMQP_URL: vhost.url }));
    for (const patient of [newPatient(), newPatient()])
      await registry.notify(patientAdded, patient, { messageId: "1" });
    await expect.poll(() => counted(reporting)).toBe(2);
  });

  test("the numbers stay the same when messages are doubled or all of them are sent again", async ({
    vhost,
    storage,
    cleanup,
  }) => {
    const registry = cleanup(await connectRegistry(vhost.url));
    const reporting = cleanup(await startReporting({ ...storage, AMQP_URL: vhost.url }));
    const patients = Array.from({ length: 10 }, () => newPatient());
    const messageIds = patients.map(() => randomUUID());
    const sendAll = async (ids: readonly (string | undefined)[]): Promise<void> => {
      for (const [index, patient] of patients.entries()) {
        const messageId = ids[index];
        await registry.notify(patientAdded, patient, messageId === undefined ? {} : { messageId });
      }
    };
    await sendAll(messageIds);
    await sendAll(messageIds);
    await sendAll([]);
    for (const patient of patients) await publish(vhost, JSON.stringify(patient), json);
    // Handled one after the other: when the marker counts, all of them have been handled
    await registry.notify(patientAdded, newPatient({ registeredAt: "2021-06-30T12:00:00Z" }));
    await expect
      .poll(async () => (await report(reporting)).days)
      .toEqual([
        { date: "2021-06-01", count: 10 },
        { date: "2021-06-30", count: 1 },
      ]);
  });

  test("a malformed notification is set aside with its reason, and the next one counted", async ({
    vhost,
    storage,
    cleanup,
  }) => {
    const registry = cleanup(await connectRegistry(vhost.url));
    const reporting = cleanup(await startReporting({ ...storage, AMQP_URL: vhost.url }));
    await publish(vhost, "given:John\nsurname:Smith", {});
    await publish(vhost, JSON.stringify(newPatient({ given: "Zaphod", birthDate: "2026-02-30" })), json);
    await registry.notify(patientAdded, newPatient());
    await expect.poll(() => counted(reporting)).toBe(1);

    const setAside = await vhost.management.getMessages(vhost.name, `${queue}.dead`);
    const headers = setAside.map(({ properties }) => properties.headers);
    expect(headers.map((header) => header?.["amqp-kit-reason"])).toEqual(["invalid_message", "invalid_message"]);
    expect(headers[1]?.["amqp-kit-error"]).toContain("birthDate");
    expect(headers[1]?.["amqp-kit-service-version"]).toMatch(/^\d+\.\d+\.\d+/);
    expect(JSON.stringify(headers)).not.toMatch(/Zaphod|2026-02-30/);
  });

  test("what came while it was stopped waits, and is counted", async ({ vhost, storage, cleanup }) => {
    const env = { ...storage, AMQP_URL: vhost.url };
    const registry = cleanup(await connectRegistry(vhost.url));
    const before = cleanup(await startReporting(env));
    await registry.notify(patientAdded, newPatient());
    await expect.poll(() => counted(before)).toBe(1);
    expect(await before.stop()).toMatchObject({ code: 0 });

    for (let n = 0; n < 3; n += 1) await registry.notify(patientAdded, newPatient());
    const after = cleanup(await startReporting(env));
    await expect.poll(() => counted(after)).toBe(4);
  });

  test("killed between its commit and the acknowledgement, it counts the patient once (pitfall 59)", async ({
    vhost,
    storage,
    cleanup,
  }) => {
    const env = { ...storage, AMQP_URL: vhost.url };
    const registry = cleanup(await connectRegistry(vhost.url));
    const doomed = cleanup(await startReporting(env, new URL("./preload/kill-after-inbox.ts", import.meta.url)));
    await registry.notify(patientAdded, newPatient());
    expect(await doomed.exited).toMatchObject({ signal: "SIGKILL" });

    const next = cleanup(await startReporting(env));
    await registry.notify(patientAdded, newPatient({ registeredAt: "2021-06-02T12:00:00Z" }));
    await expect
      .poll(async () => (await report(next)).days)
      .toEqual([
        { date: "2021-06-01", count: 1 },
        { date: "2021-06-02", count: 1 },
      ]);
  });

  test("no log line, at the finest level, tells of a person (pitfall 116)", async ({ vhost, storage, cleanup }) => {
    const registry = cleanup(await connectRegistry(vhost.url));
    const reporting = cleanup(await startReporting({ ...storage, AMQP_URL: vhost.url, LOG_LEVEL: "trace" }));
    const person = newPatient({ given: "Zaphod", surname: "Beeblebrox", birthDate: "1971-03-11" });
    await registry.notify(patientAdded, person);
    await publish(vhost, JSON.stringify({ ...person, registeredAt: "Zaphod was here" }), json);
    await publish(vhost, "given:Zaphod\nsurname:Beeblebrox", {});
    await registry.notify(patientAdded, newPatient({ given: "Zaphod" }));
    await expect.poll(() => counted(reporting)).toBe(2);
    expect(await reporting.stop()).toMatchObject({ code: 0 });
    expect(reporting.lines.map(({ text }) => text).join("\n")).not.toMatch(/Zaphod|Beeblebrox|1971-03-11/);
  });
});
