import { patientAdded } from "@amqp-idioms/contracts";
import { openDatabase } from "@amqp-idioms/outbox";
import { sql } from "kysely";
import { expect } from "vitest";
import { connectRegistry, newPatient, onPostgres as test, patientsBooked, startScheduling } from "./scheduling.ts";

test("killed between inbox and appointment it has done neither, and the next run books", async ({
  vhost,
  database,
  cleanup,
}) => {
  const env = { DATABASE_URL: database.url, AMQP_URL: vhost.url };
  const registry = cleanup(await connectRegistry(vhost.url));
  const doomed = cleanup(await startScheduling(env));
  const ours = cleanup(await openDatabase({ url: database.url }, { schema: "scheduling", logger: console }));
  const patient = newPatient();
  await ours.transaction(async (tx) => {
    // Reads go on; the appointment's insert has to wait for us
    await sql`lock table appointment in exclusive mode`.execute(tx);
    await registry.notify(patientAdded, patient);
    const waiting = sql`select 1 from pg_locks where not granted and relation = 'appointment'::regclass`;
    await expect.poll(async () => (await waiting.execute(tx)).rows).toHaveLength(1);
    await doomed.kill();
  });

  const next = cleanup(await startScheduling(env));
  await expect.poll(() => patientsBooked(next)).toEqual([patient.patientId]);
});
