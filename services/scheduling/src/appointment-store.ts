import type { Kysely } from "kysely";
import type { Appointment } from "./appointments.ts";

export interface SchedulingTables {
  appointment: { patient_id: string; starts_at: Date; ends_at: Date };
}

type Db = Kysely<SchedulingTables>;

export async function hasAppointment(db: Db, patientId: string): Promise<boolean> {
  const row = await db
    .selectFrom("appointment")
    .select("patient_id")
    .where("patient_id", "=", patientId)
    .executeTakeFirst();
  return row !== undefined;
}

/** @returns the end of the last appointment, or undefined when there is none. One step in the index on `starts_at`, however many are booked */
export async function bookedUntil(db: Db): Promise<Date | undefined> {
  const last = await db
    .selectFrom("appointment")
    .select("ends_at")
    .orderBy("starts_at", "desc")
    .limit(1)
    .executeTakeFirst();
  return last?.ends_at;
}

/**
 * Books an appointment. Waits for another transaction that is booking the same slot or the same patient.
 * @returns false, and writes nothing, when that transaction has booked it
 */
export async function insertUnlessTaken(db: Db, { patientId, startsAt, endsAt }: Appointment): Promise<boolean> {
  const { numInsertedOrUpdatedRows } = await db
    .insertInto("appointment")
    .values({ patient_id: patientId, starts_at: startsAt, ends_at: endsAt })
    .onConflict((conflict) => conflict.doNothing())
    .executeTakeFirstOrThrow();
  return numInsertedOrUpdatedRows === 1n;
}

/** Lists the appointments that start at or after `from` and before `until`, the earliest first, at most `limit`. */
export async function listAppointments(
  db: Db,
  { from, until, limit }: { from: Date; until?: Date; limit?: number },
): Promise<Appointment[]> {
  let query = db.selectFrom("appointment").selectAll().where("starts_at", ">=", from).orderBy("starts_at");
  if (until !== undefined) query = query.where("starts_at", "<", until);
  if (limit !== undefined) query = query.limit(limit);
  const rows = await query.execute();
  return rows.map((row) => ({ patientId: row.patient_id, startsAt: row.starts_at, endsAt: row.ends_at }));
}
