import { randomUUID } from "node:crypto";
import { PatientAdded, patientAdded } from "@amqp-idioms/contracts";
import { addToOutbox } from "@amqp-idioms/outbox";
import type { Database } from "@amqp-idioms/outbox";
import { findKey, findPatient, insertPatient, reserveKey } from "./patient-store.ts";
import type { RegistryTables } from "./patient-store.ts";
import { newPatient, personHash } from "./patients.ts";
import type { Patient, Person } from "./patients.ts";

/**
 * Registers a person: writes patient, key and outgoing notification in one transaction.
 * @param key  a repeat under the same key returns the first patient; without a key each call registers a patient
 * @returns undefined when the key was used for another person
 */
export async function registerPatient(
  database: Database<RegistryTables>,
  person: Person,
  key: string | undefined,
): Promise<Patient | undefined> {
  const patient = newPatient(person, randomUUID(), new Date());
  return database.transaction(async (tx) => {
    const use = { personHash: personHash(person), patientId: patient.patientId };
    if (key !== undefined && !(await reserveKey(tx, { key, ...use }))) {
      const first = await findKey(tx, key);
      return first.personHash === use.personHash ? findPatient(tx, first.patientId) : undefined;
    }
    await insertPatient(tx, patient);
    await addToOutbox(tx, { topic: patientAdded.name, key: patient.patientId, message: toMessage(patient) });
    return patient;
  });
}

/** The patient as a message of the contracts. */
export function toMessage(patient: Patient): PatientAdded {
  return { ...patient, registeredAt: patient.registeredAt.toISOString() };
}
