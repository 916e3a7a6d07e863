import { randomUUID } from "node:crypto";
import { patientAdded } from "@amqp-idioms/contracts";
import { describe, expect } from "vitest";
import { nextFreeSlot } from "../../src/appointments.ts";
import {
  appointments,
  connectRegistry,
  newPatient,
  onPglite,
  onPostgres,
  patientsBooked,
  publish,
  queue,
  startScheduling,
} from "./scheduling.ts";

const json = { content_type: "application/json" };

describe.each([
  ["PGlite", onPglite],
  ["PostgreSQL", onPostgres],
])("scheduling on %s", (_, test) => {
  test("books each new patient the next free half hour", async ({ vhost, storage, cleanup }) => {
    const registry = cleanup(await connectRegistry(vhost.url));
    const scheduling = cleanup(await startScheduling({ ...storage, AMQP_URL: vhost.url }));
    const [ann, bob] = [newPatient("Ann"), newPatient("Bob")];
    const now = new Date();
    await registry.notify(patientAdded, ann);
    await registry.notify(patientAdded, bob);
    await expect.poll(() => patientsBooked(scheduling)).toEqual([ann.patientId, bob.patientId]);

    const [first, second] = await appointments(scheduling);
    const timeZone = "Europe/London";
    // Half an hour may have begun between the booking and this look at the clock
    const slot = nextFreeSlot({ now, bookedUntil: undefined, timeZone });
    const slotAfter = nextFreeSlot({ now: new Date(), bookedUntil: undefined, timeZone });
    expect([slot, slotAfter].map(({ startsAt }) => startsAt.toISOString())).toContain(first?.startsAt);
    const next = nextFreeSlot({ now, bookedUntil: new Date(first?.endsAt ?? ""), timeZone });
    expect(second).toEqual({
      patientId: bob.patientId,
      startsAt: next.startsAt.toISOString(),
      endsAt: next.endsAt.toISOString(),
    });
  });

  test("a notification that comes twice has its effect once: with its id, under a new one, and without any", async ({
    vhost,
    storage,
    cleanup,
  }) => {
    const registry = cleanup(await connectRegistry(vhost.url));
    const scheduling = cleanup(await startScheduling({ ...storage, AMQP_URL: vhost.url }));
    const [sameId, newId, noId, marker] = [newPatient(), newPatient(), newPatient(), newPatient()];
    const messageId = randomUUID();
    await registry.notify(patientAdded, sameId, { messageId });
    await registry.notify(patientAdded, sameId, { messageId });
    await registry.notify(patientAdded, newId);
    await registry.notify(patientAdded, newId);
    await publish(vhost, JSON.stringify(noId), json);
    await publish(vhost, JSON.stringify(noId), json);
    // Handled one after the other: when the marker is booked, all of them have been
    await registry.notify(patientAdded, marker);
    await expect
      .poll(() => patientsBooked(scheduling))
      .toEqual([sameId, newId, noId, marker].map(({ patientId }) => patientId));
  });

  test("two patients under one message id, from a sender that counts anew, are both booked", async ({
    vhost,
    storage,
    cleanup,
  }) => {
    const registry = cleanup(await connectRegistry(vhost.url));
    const scheduling = cleanup(await startScheduling({ ...storage, AMQP_URL: vhost.url }));
    const patients = [newPatient(), newPatient()];
    for (const patient of patients) await registry.notify(patientAdded, patient, { messageId: "1" });
    await expect.poll(() => patientsBooked(scheduling)).toEqual(patients.map(({ patientId }) => patientId));
  });

  test("a malformed notification is set aside with its reason, and the next one handled", async ({
    vhost,
    storage,
    cleanup,
  }) => {
    const registry = cleanup(await connectRegistry(vhost.url));
    const scheduling = cleanup(await startScheduling({ ...storage, AMQP_URL: vhost.url }));
    await publish(vhost, "given:John\nsurname:Smith", {});
    await publish(vhost, JSON.stringify({ ...newPatient("Zaphod"), patientId: "not-a-uuid" }), json);
    const next = newPatient();
    await registry.notify(patientAdded, next);
    await expect.poll(() => patientsBooked(scheduling)).toEqual([next.patientId]);

    const setAside = await vhost.management.getMessages(vhost.name, `${queue}.dead`);
    expect(setAside.map(({ payload }) => payload)[0]).toBe("given:John\nsurname:Smith");
    expect(setAside.map(({ properties }) => properties.headers?.["amqp-kit-reason"])).toEqual([
      "invalid_message",
      "invalid_message",
    ]);
    expect(setAside[1]?.properties.headers?.["amqp-kit-error"]).toContain("patientId");
    expect(setAside[1]?.properties.headers?.["amqp-kit-service-version"]).toMatch(/^\d+\.\d+\.\d+/);
    expect(JSON.stringify(setAside[1]?.properties.headers)).not.toContain("Zaphod");
  });

  test("what came while it was stopped waits, and is booked in its order", async ({ vhost, storage, cleanup }) => {
    const env = { ...storage, AMQP_URL: vhost.url };
    const registry = cleanup(await connectRegistry(vhost.url));
    const before = cleanup(await startScheduling(env));
    const first = newPatient();
    await registry.notify(patientAdded, first);
    await expect.poll(() => patientsBooked(before)).toEqual([first.patientId]);
    expect(await before.stop()).toMatchObject({ code: 0 });

    const three = [newPatient(), newPatient(), newPatient()];
    for (const patient of three) await registry.notify(patientAdded, patient);
    const after = cleanup(await startScheduling(env));
    await expect.poll(() => patientsBooked(after)).toEqual([first, ...three].map(({ patientId }) => patientId));
  });

  test("killed between its commit and the acknowledgement, it books the patient once (pitfall 59)", async ({
    vhost,
    storage,
    cleanup,
  }) => {
    const env = { ...storage, AMQP_URL: vhost.url };
    const registry = cleanup(await connectRegistry(vhost.url));
    const doomed = cleanup(
      await startScheduling(env, { preload: new URL("./preload/kill-after-inbox.ts", import.meta.url) }),
    );
    const [patient, marker] = [newPatient(), newPatient()];
    await registry.notify(patientAdded, patient);
    expect(await doomed.exited).toMatchObject({ signal: "SIGKILL" });

    const next = cleanup(await startScheduling(env));
    await registry.notify(patientAdded, marker);
    await expect.poll(() => patientsBooked(next)).toEqual([patient.patientId, marker.patientId]);
    expect(next.lines.filter(({ json }) => json?.["msg"] === "already booked, nothing to do")).toHaveLength(1);
  });

  test("no log line, at the finest level, tells of a person (pitfall 116)", async ({ vhost, storage, cleanup }) => {
    const registry = cleanup(await connectRegistry(vhost.url));
    const scheduling = cleanup(await startScheduling({ ...storage, AMQP_URL: vhost.url, LOG_LEVEL: "trace" }));
    const person = { ...newPatient("Zaphod"), surname: "Beeblebrox", birthDate: "1971-03-11" };
    await registry.notify(patientAdded, person);
    await publish(vhost, JSON.stringify({ ...person, registeredAt: "Zaphod was here" }), json);
    await publish(vhost, "given:Zaphod\nsurname:Beeblebrox", {});
    const marker = newPatient("Zaphod");
    await registry.notify(patientAdded, marker);
    await expect.poll(() => patientsBooked(scheduling)).toEqual([person.patientId, marker.patientId]);
    expect(await scheduling.stop()).toMatchObject({ code: 0 });
    expect(scheduling.lines.map(({ text }) => text).join("\n")).not.toMatch(/Zaphod|Beeblebrox|1971-03-11/);
  });
});
