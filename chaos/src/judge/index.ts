import type { Evidence, Finding, Violation } from "./evidence.ts";
import * as messages from "./messages.ts";
import * as patients from "./patients.ts";
import * as system from "./system.ts";

/** What is promised, each with the check that compares it with the outside records. */
const claims: Readonly<Record<string, (evidence: Evidence) => Finding[]>> = {
  "every patient accepted is in the registry once": patients.acceptedOnce,
  "every patient has exactly one appointment": patients.oneAppointment,
  "every patient is counted once in the reports": patients.countedOnce,
  "every notification is noted once in each subscriber's inbox": patients.notedInInbox,
  "no patient exists that was not asked for": patients.askedFor,
  "no slot is booked twice": patients.noSlotTwice,
  "what was done in spite of a failure is found under its key": patients.foundUnderItsKey,
  "load is refused for at most the outage and 10 s": patients.refusedInTime,
  "every malformed notification is set aside": messages.malformedSetAside,
  "no notification in order is set aside": messages.onlyMalformedSetAside,
  "every malformed request with a usable reply queue is answered with an error": messages.malformedAnswered,
  "every other malformed message is counted with the right reason": messages.malformedCounted,
  "no request is begun more than 100 ms after its time limit": messages.begunInTime,
  "each listener sees the updates in order and none twice": messages.inOrderNoneTwice,
  "from 5 s after a fault every update reaches every listener connected": messages.everyUpdateShown,
  "there is such a window after every fault": messages.windowPerFault,
  "every fault strikes": system.everyFaultStruck,
  "the system comes back from every fault": system.cameBack,
  "no process ends by itself": system.noneDiedByItself,
  "nothing is left unacknowledged or in an outbox": system.nothingLeft,
  "memory, handles, channels and connections are back where they began": system.backWhereTheyBegan,
  "patients' names and birth dates are in no log and no header": system.personalDataNowhere,
};

export function judge(evidence: Evidence): Violation[] {
  return Object.entries(claims).flatMap(([claim, check]) => check(evidence).map((finding) => ({ claim, ...finding })));
}
