import { patientAdded } from "@amqp-idioms/contracts";
import type { PatientAdded } from "@amqp-idioms/contracts";
import { addToInbox } from "@amqp-idioms/outbox";
import type { Database } from "@amqp-idioms/outbox";
import type { Delivery, Logger } from "amqp-kit";
import { insertOnce } from "./registration-store.ts";
import type { ReportingTables } from "./registration-store.ts";
import { registrationOf } from "./registrations.ts";

/**
 * Counts each patient once. Writes inbox and registration in one transaction. A repeated message is recognised by its id, and one
 * without an id or with a new id by its patient.
 */
export function onPatientAdded(
  database: Database<ReportingTables>,
  timeZone: string,
  logger: Logger,
): (patient: PatientAdded, delivery: Delivery) => Promise<void> {
  return async (patient, { messageId }) => {
    const isNew = await database.transaction(async (tx) => {
      // With the patient in the source, a sender that reuses a message id for another patient does no harm
      const source = `${patientAdded.name} ${patient.patientId}`;
      if (messageId !== undefined && !(await addToInbox(tx, { source, messageId }))) return false;
      return await insertOnce(tx, registrationOf(patient, timeZone));
    });
    logger.info({ messageId }, isNew ? "registration counted" : "already counted, nothing to do");
  };
}
