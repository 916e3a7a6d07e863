import { getPatient } from "@amqp-idioms/contracts";
import { OperationError } from "amqp-kit";
import { expect } from "vitest";
import { onPostgres, openOthers, person } from "../running.ts";
import { restart, storeNames, useKeyTwice } from "../scenarios.ts";

/** A registry and the rest of the system, started once for this file. */
const test = onPostgres
  .extend(
    "started",
    { scope: "file" },
    async ({ vhostOfFile, databaseOfFileOrReason: { url }, startRegistryOfFile, cleanupOfFile }) => {
      if (url !== undefined) await startRegistryOfFile({ DATABASE_URL: url });
      return cleanupOfFile(await openOthers(vhostOfFile.url));
    },
  )
  // Skipped without a PostgreSQL
  .extend("others", ({ started, databaseOfFile: { url } }) => ({ ...started, url }));

test("Registers a person, finds the patient, and notifies subscribers", async ({ others }) => {
  const before = Date.now();
  const patient = await others.add({ ...person, given: ` ${person.given} ` });

  expect(patient).toEqual({ ...person, patientId: expect.any(String), registeredAt: expect.stringMatching(/Z$/) });
  expect(Date.parse(patient.registeredAt)).toBeGreaterThanOrEqual(before);
  await expect(others.get(patient.patientId)).resolves.toEqual(patient);
  await expect.poll(() => others.received.map((one) => one.patient)).toEqual([patient]);
  const unknown = "00000000-0000-4000-8000-000000000000";
  const notFound = await others.get(unknown).catch((error: unknown) => error);
  expect(OperationError.is(notFound, getPatient, "patient_not_found") && notFound.details).toEqual({
    patientId: unknown,
  });
});

test("Stores names in all scripts and a missing birth date unchanged", async ({ others }) => {
  await storeNames(others);
});

test("Registers once under an idempotency key, and each repeat gets the first response (pitfall 75)", async ({
  others,
}) => {
  await useKeyTwice(others);
});

test("Is ready, stops gracefully, and knows all patients and keys after a restart", async ({
  vhost,
  stored,
  startRegistry,
  cleanup,
}) => {
  await restart(stored, startRegistry, cleanup(await openOthers(vhost.url)));
});
