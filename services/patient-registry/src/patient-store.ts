import { sql } from "kysely";
import type { Generated, Kysely } from "kysely";
import type { Patient } from "./patients.ts";

/** The statements on this service's tables, one function each. `db` may be a transaction. */

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
 * Takes a key for 24 hours. Waits for whoever is about to take the same key in another transaction.
 * @returns false when it is taken; one that has expired is free
 */
export async function takeKey(db: Db, { key, personHash, patientId }: KeyUse): Promise<boolean> {
  // By the database's clock alone: replicas need not agree on the time
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

/** What a taken key was used for. */
export async function findKey(db: Db, key: string): Promise<KeyUse> {
  const row = await db.selectFrom("idempotency_key").selectAll().where("key", "=", key).executeTakeFirstOrThrow();
  return { key, personHash: row.person_hash, patientId: row.patient_id };
}

/** An hour late, so that a key which a transaction has just found taken is still there when it looks. @returns how many */
export async function deleteExpiredKeys(db: Db): Promise<number> {
  const { numDeletedRows } = await db
    .deleteFrom("idempotency_key")
    .where("expires_at", "<=", sql<Date>`now() - interval '1 hour'`)
    .executeTakeFirstOrThrow();
  return Number(numDeletedRows);
}
