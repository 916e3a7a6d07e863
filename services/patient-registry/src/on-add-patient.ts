import { addPatient } from "@amqp-idioms/contracts";
import type { NewPatient, Patient } from "@amqp-idioms/contracts";
import type { Database } from "@amqp-idioms/outbox";
import { OperationError } from "amqp-kit";
import type { Delivery } from "amqp-kit";
import type { RegistryTables } from "./patient-store.ts";
import { registerPatient, toMessage } from "./registry.ts";

export function onAddPatient(database: Database<RegistryTables>) {
  return async (person: NewPatient, { idempotencyKey }: Delivery): Promise<Patient> => {
    const patient = await registerPatient(database, person, idempotencyKey);
    if (patient === undefined) throw new OperationError(addPatient, "idempotency_key_reused", {});
    return toMessage(patient);
  };
}
