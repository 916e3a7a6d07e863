import { getPatient } from "@amqp-idioms/contracts";
import type { Patient, PatientRef } from "@amqp-idioms/contracts";
import type { Database } from "@amqp-idioms/outbox";
import { OperationError } from "amqp-kit";
import { findPatient } from "./patient-store.ts";
import type { RegistryTables } from "./patient-store.ts";
import { toMessage } from "./registry.ts";

export function onGetPatient(database: Database<RegistryTables>) {
  return async ({ patientId }: PatientRef): Promise<Patient> => {
    const patient = await findPatient(database.kysely, patientId);
    if (patient === undefined) throw new OperationError(getPatient, "patient_not_found", { patientId });
    return toMessage(patient);
  };
}
