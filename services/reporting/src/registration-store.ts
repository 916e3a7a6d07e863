import { sql } from "kysely";
import type { Kysely } from "kysely";
import type { AgeBand, Registration } from "./registrations.ts";
import type { RegistrationCount } from "./report.ts";

/** The statements on this service's table, one function each. */

export interface ReportingTables {
  registration: { patient_id: string; day: string; age_band: AgeBand };
}

type Db = Kysely<ReportingTables>;

/**
 * Inserts a registration. Only the first one of a patient counts; a later one changes nothing.
 * @returns whether it was the first one
 */
export async function insertOnce(db: Db, { patientId, day, ageBand }: Registration): Promise<boolean> {
  const { numInsertedOrUpdatedRows } = await db
    .insertInto("registration")
    .values({ patient_id: patientId, day, age_band: ageBand })
    .onConflict((conflict) => conflict.column("patient_id").doNothing())
    .executeTakeFirstOrThrow();
  return numInsertedOrUpdatedRows === 1n;
}

/** Counts registrations per day and age band, in any order. `from` and `to` are `YYYY-MM-DD`, inclusive and optional. */
export async function countRegistrations(
  db: Db,
  { from, to }: { from?: string | undefined; to?: string | undefined },
): Promise<RegistrationCount[]> {
  let query = db.selectFrom("registration");
  if (from !== undefined) query = query.where("day", ">=", from);
  if (to !== undefined) query = query.where("day", "<=", to);
  return await query
    .select([
      // As text, since each driver converts a date to an instant in a different time zone
      sql<string>`to_char(day, 'YYYY-MM-DD')`.as("date"),
      "age_band as band",
      sql<number>`count(*)::int`.as("count"),
    ])
    .groupBy(["day", "age_band"])
    .execute();
}
