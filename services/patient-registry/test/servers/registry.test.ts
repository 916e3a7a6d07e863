import { addPatient, getPatient } from "@amqp-idioms/contracts";
import { OperationError } from "amqp-kit";
import { describe, expect } from "vitest";
import { onEmbedded, onPostgres, openOthers, person } from "./running.ts";

describe.for([
  ["PostgreSQL", onPostgres],
  ["the embedded database", onEmbedded],
] as const)("on %s", ([, test]) => {
  test("registers a person, finds the patient, and everybody is notified", async ({
    vhost,
    stored,
    startRegistry,
    cleanup,
  }) => {
    await startRegistry(stored);
    const others = cleanup(await openOthers(vhost.url));

    const before = Date.now();
    const patient = await others.add({ ...person, given: ` ${person.given} ` });

    expect(patient).toEqual({ ...person, patientId: expect.any(String), registeredAt: expect.stringMatching(/Z$/) });
    expect(Date.parse(patient.registeredAt)).toBeGreaterThanOrEqual(before);
    await expect(others.get(patient.patientId)).resolves.toEqual(patient);
    await expect.poll(() => others.heard.map((one) => one.patient)).toEqual([patient]);
    const unknown = "00000000-0000-4000-8000-000000000000";
    const notFound = await others.get(unknown).catch((error: unknown) => error);
    expect(OperationError.is(notFound, getPatient, "patient_not_found") && notFound.details).toEqual({
      patientId: unknown,
    });
  });

  test("keeps names of all scripts and a missing birth date as they are", async ({
    vhost,
    stored,
    startRegistry,
    cleanup,
  }) => {
    await startRegistry(stored);
    const others = cleanup(await openOthers(vhost.url));
    for (const who of [
      { given: "Þórdís Ölöf", surname: "O'Brien-ŁÓDŹ", birthDate: null },
      { given: "美咲 🌸", surname: "\"'); drop table patient; --", birthDate: "1904-02-29" },
      { given: "a".repeat(200), surname: "<script>alert(1)</script>", birthDate: "0001-01-01" },
      { given: "é".normalize("NFD"), surname: "\u200fעברית", birthDate: "9999-12-31" },
    ]) {
      const patient = await others.add(who);
      expect(patient).toMatchObject(who);
      expect(await others.get(patient.patientId)).toEqual(patient);
    }
  });

  test("does it once under an idempotency key: each repeat gets the first one's answer (pitfall 75)", async ({
    vhost,
    stored,
    startRegistry,
    cleanup,
  }) => {
    await startRegistry(stored);
    const others = cleanup(await openOthers(vhost.url));

    const first = await others.add(person, "key-1");
    await expect(
      others.add({ birthDate: person.birthDate, surname: `${person.surname} `, given: person.given }, "key-1"),
    ).resolves.toEqual(first);
    const reused = await others.add({ ...person, given: "Zelda" }, "key-1").catch((error: unknown) => error);
    expect(OperationError.is(reused, addPatient, "idempotency_key_reused")).toBe(true);
    await expect(others.add(person, "key-1")).resolves.toEqual(first);

    const other = await others.add(person, "key-2");
    const third = await others.add(person);
    expect(new Set([first, other, third].map(({ patientId }) => patientId)).size).toBe(3);
    const heard = (await others.heardBeforeMarker()).map(({ patient }) => patient);
    expect(heard).toHaveLength(3);
    expect(heard).toEqual(expect.arrayContaining([first, other, third]));
  });

  test("is ready, and stops in good order", async ({ stored, startRegistry }) => {
    const registry = await startRegistry(stored);
    expect((await fetch(`${registry.url}/livez`)).status).toBe(200);
    expect((await fetch(`${registry.url}/readyz`)).status).toBe(200);
    expect(await registry.stop()).toMatchObject({ code: 0, signal: null });
  });

  test("still knows all of it after a restart, keys included", async ({ vhost, stored, startRegistry, cleanup }) => {
    const before = await startRegistry(stored);
    const others = cleanup(await openOthers(vhost.url));
    const patient = await others.add(person, "key-1");
    await before.stop();
    await startRegistry(stored);
    await expect(others.get(patient.patientId)).resolves.toEqual(patient);
    await expect(others.add(person, "key-1")).resolves.toEqual(patient);
  });
});
