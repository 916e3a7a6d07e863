import { patientAdded } from "@amqp-idioms/contracts";
import type { PatientAdded } from "@amqp-idioms/contracts";
import { addToInbox } from "@amqp-idioms/outbox";
import type { Database } from "@amqp-idioms/outbox";
import type { Delivery, Logger } from "amqp-kit";
import type { Transaction } from "kysely";
import { bookedUntil, hasAppointment, insertUnlessTaken } from "./appointment-store.ts";
import type { SchedulingTables } from "./appointment-store.ts";
import { nextFreeSlot } from "./appointments.ts";

/**
 * Books each new patient once. Writes inbox and appointment in one transaction. A repeated message is recognised by its id, and one
 * without an id or with a new id by its patient.
 */
export function onPatientAdded(
  database: Database<SchedulingTables>,
  timeZone: string,
  logger: Logger,
): (patient: PatientAdded, delivery: Delivery) => Promise<void> {
  return async ({ patientId }, { messageId }) => {
    const isBooked = await database.transaction(async (tx) => {
      // With the patient in the source, a sender that reuses a message id for another patient does no harm
      const source = `${patientAdded.name} ${patientId}`;
      if (messageId !== undefined && !(await addToInbox(tx, { source, messageId }))) return false;
      return await book(tx, patientId, timeZone);
    });
    logger.info({ messageId }, isBooked ? "appointment booked" : "already booked, nothing to do");
  };
}

/**
 * `insertUnlessTaken` waits for a replica that is booking the same slot. If that replica commits, the next slot is tried. No
 * replica tries a slot before the previous one is taken, so no slot stays free.
 */
async function book(tx: Transaction<SchedulingTables>, patientId: string, timeZone: string): Promise<boolean> {
  while (!(await hasAppointment(tx, patientId))) {
    const slot = nextFreeSlot({ now: new Date(), bookedUntil: await bookedUntil(tx), timeZone });
    if (await insertUnlessTaken(tx, { patientId, ...slot })) return true;
  }
  return false;
}
