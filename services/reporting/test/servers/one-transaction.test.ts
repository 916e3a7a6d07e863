import { patientAdded } from "@amqp-idioms/contracts";
import { openDatabase } from "@amqp-idioms/outbox";
import { sql } from "kysely";
import { expect } from "vitest";
import { connectRegistry, counted, newPatient, onPostgres as test, startReporting } from "./reporting.ts";

test("killed between inbox and registration it has done neither, and the next run counts", async ({
  vhost,
  database,
  cleanup,
}) => {
  const env = { DATABASE_URL: database.url, AMQP_URL: vhost.url };
  const registry = cleanup(await connectRegistry(vhost.url));
  const doomed = cleanup(await startReporting(env));
  const ours = cleanup(await openDatabase({ url: database.url }, { schema: "reporting", logger: console }));
  await ours.transaction(async (tx) => {
    // Reads go on; the registration's insert has to wait for us
    await sql`lock table registration in exclusive mode`.execute(tx);
    await registry.notify(patientAdded, newPatient());
    const waiting = sql`select 1 from pg_locks where not granted and relation = 'registration'::regclass`;
    await expect.poll(async () => (await waiting.execute(tx)).rows).toHaveLength(1);
    await doomed.kill();
  });

  const next = cleanup(await startReporting(env));
  await expect.poll(() => counted(next)).toBe(1);
});
