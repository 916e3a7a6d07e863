import { sql } from "kysely";
import type { Generated, Kysely } from "kysely";
import type { Patient } from "./patients.ts";

export interface RegistryTables {
  patient: { patient_id: string; given: string; surname: string; birth_date: string | null; registered_at: Date };
  idempotency_key: { key: string; person_hash: string; patient_id: string; expires_at: Generated<Date> };
}

type Db = Kysely<RegistryTables>;

export interface KeyUse {
  key: string;
  personHash: string;
  patientId: string;
}

export async function insertPatient(db: Db, patient: Patient): Promise<void> {
  const { patientId, given, surname, birthDate, registeredAt } = patient;
  await db
    .insertInto("patient")
    .values({ patient_id: patientId, given, surname, birth_date: birthDate, registered_at: registeredAt })
    .execute();
}

export async function findPatient(db: Db, patientId: string): Promise<Patient | undefined> {
  const row = await db.selectFrom("patient").selectAll().where("patient_id", "=", patientId).executeTakeFirst();
  if (row === undefined) return undefined;
  const { given, surname } = row;
  return { patientId: row.patient_id, given, surname, birthDate: row.birth_date, registeredAt: row.registered_at };
}

/**
 * Reserves a key for 24 hours. Waits for another transaction that is reserving the same key.
 * @returns false when the key is in use; an expired key is free
 */
export async function reserveKey(db: Db, { key, personHash, patientId }: KeyUse): Promise<boolean> {
  // The database's clock, since the clocks of replicas may differ
  const expiresAt = sql<Date>`now() + interval '24 hours'`;
  const { numInsertedOrUpdatedRows } = await db
    .insertInto("idempotency_key")
    .values({ key, person_hash: personHash, patient_id: patientId, expires_at: expiresAt })
    .onConflict((conflict) =>
      conflict
        .column("key")
        .doUpdateSet({ person_hash: personHash, patient_id: patientId, expires_at: expiresAt })
        .where("idempotency_key.expires_at", "<=", sql<Date>`now()`),
    )
    .executeTakeFirstOrThrow();
  return numInsertedOrUpdatedRows === 1n;
}

/** Finds what a key in use was used for. */
export async function findKey(db: Db, key: string): Promise<KeyUse> {
  const row = await db.selectFrom("idempotency_key").selectAll().where("key", "=", key).executeTakeFirstOrThrow();
  return { key, personHash: row.person_hash, patientId: row.patient_id };
}

/** Deletes keys an hour after they expire, so that `findKey` still finds a key that was just in use. @returns the number of keys */
export async function deleteExpiredKeys(db: Db): Promise<number> {
  const { numDeletedRows } = await db
    .deleteFrom("idempotency_key")
    .where("expires_at", "<=", sql<Date>`now() - interval '1 hour'`)
    .executeTakeFirstOrThrow();
  return Number(numDeletedRows);
}
