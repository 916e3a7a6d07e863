import { patientAdded } from "@amqp-idioms/contracts";
import { test } from "@amqp-idioms/local-servers/vitest";
import { expect } from "vitest";
import { connectRegistry, counted, newPatient, startReporting } from "./reporting.ts";

test("Two replicas count each patient once when every notification arrives twice", async ({
  vhost,
  database,
  cleanup,
}) => {
  const start = async () => cleanup(await startReporting({ DATABASE_URL: database.url, AMQP_URL: vhost.url }));
  const registry = cleanup(await connectRegistry(vhost.url));
  const replicas = await Promise.all([start(), start()]);
  const patients = Array.from({ length: 100 }, () => newPatient());
  await Promise.all([...patients, ...patients].map((patient) => registry.notify(patientAdded, patient)));

  const handled = (): number =>
    replicas.flatMap(({ lines }) => lines).filter(({ json }) => /counted/.test(String(json?.["msg"]))).length;
  await expect.poll(handled).toBe(200);
  for (const replica of replicas) expect(await counted(replica)).toBe(100);
});
