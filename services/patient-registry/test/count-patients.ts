import { openDatabase } from "@amqp-idioms/outbox";
import type { RegistryTables } from "../src/patient-store.ts";

/** Counts the patients in the database. The registry writes each patient and its notification in one transaction. */
export async function countPatients(url: string): Promise<number> {
  await using database = await openDatabase<RegistryTables>(
    { url },
    {
      schema: "patient-registry",
      migrations: new URL("../migrations/", import.meta.url),
      logger: { debug() {}, info() {}, warn() {} },
    },
  );
  return (await database.kysely.selectFrom("patient").select("patient_id").execute()).length;
}
