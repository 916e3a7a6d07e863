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
 * The first word on a patient counts; whatever comes again, under whatever message id, changes nothing.
 * @returns whether it was the first
 */
export async function insertOnce(db: Db, { patientId, day, ageBand }: Registration): Promise<boolean> {
  const { numInsertedOrUpdatedRows } = await db
    .insertInto("registration")
    .values({ patient_id: patientId, day, age_band: ageBand })
    .onConflict((conflict) => conflict.column("patient_id").doNothing())
    .executeTakeFirstOrThrow();
  return numInsertedOrUpdatedRows === 1n;
}

/** Per day and age band, in no order. `from` and `to` are `YYYY-MM-DD`, both inclusive; without one, that side is open. */
export async function countRegistrations(
  db: Db,
  { from, to }: { from?: string | undefined; to?: string | undefined },
): Promise<RegistrationCount[]> {
  let query = db.selectFrom("registration");
  if (from !== undefined) query = query.where("day", ">=", from);
  if (to !== undefined) query = query.where("day", "<=", to);
  return await query
    .select([
      // As text: drivers turn a date into an instant, each in a time zone of its own
      sql<string>`to_char(day, 'YYYY-MM-DD')`.as("date"),
      "age_band as band",
      sql<number>`count(*)::int`.as("count"),
    ])
    .groupBy(["day", "age_band"])
    .execute();
}
