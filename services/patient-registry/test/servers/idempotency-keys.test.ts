import { openDatabase } from "@amqp-idioms/outbox";
import type { Database } from "@amqp-idioms/outbox";
import { test as base } from "@amqp-idioms/local-servers/vitest";
import { sql } from "kysely";
import { describe, expect } from "vitest";
import { forgetExpiredKeys } from "../../src/expired-keys.ts";
import { deleteExpiredKeys } from "../../src/patient-store.ts";
import type { RegistryTables } from "../../src/patient-store.ts";
import { registerPatient } from "../../src/registry.ts";
import { person } from "./running.ts";

const silent = { debug() {}, info() {}, warn() {} };
const options = {
  logger: silent,
  schema: "patient-registry",
  migrations: new URL("../../migrations/", import.meta.url),
};

const onPostgres = base.extend("registry", async ({ database, cleanup }) =>
  cleanup(await openDatabase<RegistryTables>({ url: database.url }, options)),
);
const onEmbedded = base.extend("registry", async ({ dataFolder, cleanup }) =>
  cleanup(await openDatabase<RegistryTables>({ dataDir: await dataFolder() }, options)),
);

describe.for([
  ["PostgreSQL", onPostgres],
  ["the embedded database", onEmbedded],
] as const)("on %s", ([, test]) => {
  test("a key is kept for 24 hours", async ({ registry }) => {
    const first = await registerPatient(registry, person, "key-1");
    await age(registry, "23 hours 59 minutes");
    expect(await registerPatient(registry, person, "key-1")).toEqual(first);
    expect(await registerPatient(registry, { ...person, given: "Zelda" }, "key-1")).toBeUndefined();
  });

  test("a key that has expired is a new one, also for another person, for 24 hours again", async ({ registry }) => {
    const first = await registerPatient(registry, person, "key-1");
    await age(registry, "24 hours");
    const second = await registerPatient(registry, { ...person, given: "Zelda" }, "key-1");
    expect(second?.patientId).not.toBe(first?.patientId);
    expect(await registerPatient(registry, { ...person, given: "Zelda" }, "key-1")).toEqual(second);
    expect(await registerPatient(registry, person, "key-1")).toBeUndefined();
  });

  test("without a key each call is a patient of its own", async ({ registry }) => {
    const patients = [
      await registerPatient(registry, person, undefined),
      await registerPatient(registry, person, undefined),
    ];
    expect(new Set(patients.map((patient) => patient?.patientId)).size).toBe(2);
  });

  test("expired keys are deleted, the others and all patients stay", async ({ registry }) => {
    await registerPatient(registry, person, "old");
    await age(registry, "26 hours");
    await registerPatient(registry, person, "new");
    expect(await deleteExpiredKeys(registry.kysely)).toBe(1);
    expect(await registry.kysely.selectFrom("idempotency_key").select("key").execute()).toEqual([{ key: "new" }]);
    expect(await registry.kysely.selectFrom("patient").select("patient_id").execute()).toHaveLength(2);
  });

  test("a registry that starts deletes what has expired", async ({ registry, cleanup }) => {
    await registerPatient(registry, person, "old");
    await age(registry, "26 hours");
    cleanup(forgetExpiredKeys(registry, silent));
    await expect.poll(() => registry.kysely.selectFrom("idempotency_key").select("key").execute()).toEqual([]);
  });

  test("what fails in the middle leaves nothing: no patient, no key, no notification", async ({ registry }) => {
    // The patient's own statement fails, after the key was taken
    const impossible = { ...person, birthDate: "no date" };
    await expect(registerPatient(registry, impossible, "key-1")).rejects.toThrow(/date/);
    const patient = await registerPatient(registry, person, "key-1");
    expect(await registry.kysely.selectFrom("patient").select("patient_id").execute()).toEqual([
      { patient_id: patient?.patientId },
    ]);
  });

  test("a notification that cannot be kept leaves nothing either: patient, key and notification are one transaction (pitfall 47)", async ({
    registry,
  }) => {
    const { kysely } = registry;
    await sql`alter table outbox add constraint refused check (false)`.execute(kysely);
    await expect(registerPatient(registry, person, "key-1")).rejects.toThrow(/refused/);
    await sql`alter table outbox drop constraint refused`.execute(kysely);
    expect(await kysely.selectFrom("patient").selectAll().execute()).toEqual([]);
    const patient = await registerPatient(registry, person, "key-1");
    const { rows } = await sql`select key from outbox`.execute(kysely);
    expect(rows).toEqual([{ key: patient?.patientId }]);
  });
});

/** As if that much time had passed. */
async function age(registry: Database<RegistryTables>, interval: string): Promise<void> {
  await registry.kysely
    .updateTable("idempotency_key")
    .set({ expires_at: sql<Date>`expires_at - ${interval}::interval` })
    .execute();
}
