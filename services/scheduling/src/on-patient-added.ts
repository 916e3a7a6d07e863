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
 * Books each new patient once, inbox and appointment in one transaction. A message that comes again is known by its id;
 * one without an id, or under a new one, by its patient.
 */
export function onPatientAdded(
  database: Database<SchedulingTables>,
  timeZone: string,
  logger: Logger,
): (patient: PatientAdded, delivery: Delivery) => Promise<void> {
  return async ({ patientId }, { messageId }) => {
    const isBooked = await database.transaction(async (tx) => {
      // An id that a sender has used for another patient, too, takes nothing from this one
      const source = `${patientAdded.name} ${patientId}`;
      if (messageId !== undefined && !(await addToInbox(tx, { source, messageId }))) return false;
      return await book(tx, patientId, timeZone);
    });
    logger.info({ messageId }, isBooked ? "appointment booked" : "already booked, nothing to do");
  };
}

/**
 * Whoever else is booking decides by committing first: `insertUnlessTaken` waits for them, and then the next slot is
 * looked for again. Nobody tries a later slot before the one ahead of it is taken, so none is left out.
 */
async function book(tx: Transaction<SchedulingTables>, patientId: string, timeZone: string): Promise<boolean> {
  while (!(await hasAppointment(tx, patientId))) {
    const slot = nextFreeSlot({ now: new Date(), bookedUntil: await bookedUntil(tx), timeZone });
    if (await insertUnlessTaken(tx, { patientId, ...slot })) return true;
  }
  return false;
}
