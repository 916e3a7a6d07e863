import type { Evidence, Finding, Violation } from "./evidence.ts";
import * as messages from "./messages.ts";
import * as patients from "./patients.ts";
import * as system from "./system.ts";

/** Each promise, with the check that compares it with the outside records. */
const claims: Readonly<Record<string, (evidence: Evidence) => Finding[]>> = {
  "every accepted patient is in the registry exactly once": patients.acceptedOnce,
  "every patient has exactly one appointment": patients.oneAppointment,
  "every patient is counted exactly once in the reports": patients.countedOnce,
  "every notification is exactly once in each subscriber's inbox": patients.onceInInbox,
  "no patient exists that was not requested": patients.noneInvented,
  "no appointment slot is booked twice": patients.noSlotTwice,
  "a patient registered in spite of a failed response is found under its idempotency key": patients.foundUnderItsKey,
  "requests fail only during an outage and for 10 s after it": patients.refusedOnlyDuringOutage,
  "every malformed notification is dead-lettered": messages.malformedDeadLettered,
  "no valid notification is dead-lettered": messages.onlyMalformedDeadLettered,
  "every malformed request with a usable reply queue is answered with an error": messages.malformedAnswered,
  "every other malformed message is counted with the right reason": messages.malformedCounted,
  "no request is begun more than 100 ms after its time limit": messages.begunInTime,
  "each listener receives the updates in order and none twice": messages.inOrderOnce,
  "from 5 s after a fault every update reaches every connected listener": messages.everyUpdateShown,
  "after every fault there are enough updates to check that": messages.windowPerFault,
  "every fault is injected": system.everyFaultInjected,
  "the system recovers from every fault": system.recovered,
  "no process exits on its own": system.noUnexpectedExit,
  "nothing is left unacknowledged or in an outbox": system.nothingLeft,
  "memory, handles, channels and connections return to their level before the load": system.resourcesReturned,
  "patients' names and birth dates are in no log and no header": system.noPersonalData,
};

export function judge(evidence: Evidence): Violation[] {
  return Object.entries(claims).flatMap(([claim, check]) => check(evidence).map((finding) => ({ claim, ...finding })));
}
