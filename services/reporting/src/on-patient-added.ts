import { patientAdded } from "@amqp-idioms/contracts";
import type { PatientAdded } from "@amqp-idioms/contracts";
import { addToInbox } from "@amqp-idioms/outbox";
import type { Database } from "@amqp-idioms/outbox";
import type { Delivery, Logger } from "amqp-kit";
import { insertOnce } from "./registration-store.ts";
import type { ReportingTables } from "./registration-store.ts";
import { registrationOf } from "./registrations.ts";

/**
 * Counts each patient once, inbox and registration in one transaction. A message that comes again is known by its id;
 * one without an id, or under a new one, by its patient.
 */
export function onPatientAdded(
  database: Database<ReportingTables>,
  timeZone: string,
  logger: Logger,
): (patient: PatientAdded, delivery: Delivery) => Promise<void> {
  return async (patient, { messageId }) => {
    const isNew = await database.transaction(async (tx) => {
      // An id that a sender has used for another patient, too, takes nothing from this one
      const source = `${patientAdded.name} ${patient.patientId}`;
      if (messageId !== undefined && !(await addToInbox(tx, { source, messageId }))) return false;
      return await insertOnce(tx, registrationOf(patient, timeZone));
    });
    logger.info({ messageId }, isNew ? "registration counted" : "already counted, nothing to do");
  };
}
