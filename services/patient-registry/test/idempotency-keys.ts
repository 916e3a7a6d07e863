/** The idempotency keys, tested on whichever database the fixture `registry` opens. */
import type { Database } from "@amqp-idioms/outbox";
import { test as base } from "@amqp-idioms/local-servers/vitest";
import { sql } from "kysely";
import { expect } from "vitest";
import { startDeletingExpiredKeys } from "../src/expired-keys.ts";
import { deleteExpiredKeys } from "../src/patient-store.ts";
import type { RegistryTables } from "../src/patient-store.ts";
import { registerPatient } from "../src/registry.ts";
import { person } from "./running.ts";

export type Registry = Database<RegistryTables>;

const silent = { debug() {}, info() {}, warn() {} };
export const databaseOptions = {
  logger: silent,
  schema: "patient-registry",
  migrations: new URL("../migrations/", import.meta.url),
};

/** Tests whose fixture `registry` is an empty, open database. */
export const test = base.extend("registry", (): Registry => {
  throw new Error("Override the fixture registry.");
});

export function describeKeys(keyTest: typeof test): void {
  keyTest("a key is kept for 24 hours", async ({ registry }) => {
    const first = await registerPatient(registry, person, "key-1");
    await age(registry, "23 hours 59 minutes");
    expect(await registerPatient(registry, person, "key-1")).toEqual(first);
    expect(await registerPatient(registry, { ...person, given: "Zelda" }, "key-1")).toBeUndefined();
  });

  keyTest("an expired key is new, even for another person, for 24 hours again", async ({ registry }) => {
    const first = await registerPatient(registry, person, "key-1");
    await age(registry, "24 hours");
    const second = await registerPatient(registry, { ...person, given: "Zelda" }, "key-1");
    expect(second?.patientId).not.toBe(first?.patientId);
    expect(await registerPatient(registry, { ...person, given: "Zelda" }, "key-1")).toEqual(second);
    expect(await registerPatient(registry, person, "key-1")).toBeUndefined();
  });

  keyTest("without a key each call registers a patient", async ({ registry }) => {
    const patients = [
      await registerPatient(registry, person, undefined),
      await registerPatient(registry, person, undefined),
    ];
    expect(new Set(patients.map((patient) => patient?.patientId)).size).toBe(2);
  });

  keyTest("expired keys are deleted; the other keys and all patients are kept", async ({ registry }) => {
    await registerPatient(registry, person, "old");
    await age(registry, "26 hours");
    await registerPatient(registry, person, "new");
    expect(await deleteExpiredKeys(registry.kysely)).toBe(1);
    expect(await registry.kysely.selectFrom("idempotency_key").select("key").execute()).toEqual([{ key: "new" }]);
    expect(await registry.kysely.selectFrom("patient").select("patient_id").execute()).toHaveLength(2);
  });

  keyTest("a registry that starts deletes expired keys", async ({ registry, cleanup }) => {
    await registerPatient(registry, person, "old");
    await age(registry, "26 hours");
    cleanup(startDeletingExpiredKeys(registry, silent));
    await expect.poll(() => registry.kysely.selectFrom("idempotency_key").select("key").execute()).toEqual([]);
  });

  keyTest("a failure in the middle leaves no patient, no key and no notification", async ({ registry }) => {
    // The patient's own statement fails, after the key was taken
    const impossible = { ...person, birthDate: "no date" };
    await expect(registerPatient(registry, impossible, "key-1")).rejects.toThrow(/date/);
    const patient = await registerPatient(registry, person, "key-1");
    expect(await registry.kysely.selectFrom("patient").select("patient_id").execute()).toEqual([
      { patient_id: patient?.patientId },
    ]);
  });
}

/** Lets the outbox refuse the notification of a registration. */
export async function refuseNotification(registry: Registry): Promise<void> {
  const { kysely } = registry;
  await sql`alter table outbox add constraint refused check (false)`.execute(kysely);
  await expect(registerPatient(registry, person, "key-1")).rejects.toThrow(/refused/);
  await sql`alter table outbox drop constraint refused`.execute(kysely);
  expect(await kysely.selectFrom("patient").selectAll().execute()).toEqual([]);
  const patient = await registerPatient(registry, person, "key-1");
  const { rows } = await sql`select key from outbox`.execute(kysely);
  expect(rows).toEqual([{ key: patient?.patientId }]);
}

/** Makes all keys older. */
async function age(registry: Registry, interval: string): Promise<void> {
  await registry.kysely
    .updateTable("idempotency_key")
    .set({ expires_at: sql<Date>`expires_at - ${interval}::interval` })
    .execute();
}
