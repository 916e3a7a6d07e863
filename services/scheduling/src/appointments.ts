import { Temporal } from "temporal-polyfill";

/** The clinic's rules: when a patient can be seen. Free of AMQP, HTTP and SQL; the time is handed in. */

export interface Slot {
  readonly startsAt: Date;
  readonly endsAt: Date;
}

export interface Appointment extends Slot {
  readonly patientId: string;
}

const slotMinutes = 30;
const lastWorkday = 5; // Friday: Temporal counts from Monday, 1
/** 09:00, 09:30, …, 16:30 by the clinic's clock: the last one ends when it closes, at 17:00. */
const slotTimes = Array.from({ length: 16 }, (_, index) =>
  Temporal.PlainTime.from("09:00").add({ minutes: index * slotMinutes }),
);

/**
 * The first slot that starts after `now` and is not booked.
 * @param bookedUntil  end of the last appointment. Appointments are given out in order and never cancelled, so
 *   nothing before it is free.
 * @param timeZone  IANA name. Hours are those of its clock, in summer and winter; a slot is known by its instant
 */
export function nextFreeSlot(when: { now: Date; bookedUntil: Date | undefined; timeZone: string }): Slot {
  const earliest = Math.max(when.now.getTime() + 1, when.bookedUntil?.getTime() ?? -Infinity);
  let day = Temporal.Instant.fromEpochMilliseconds(earliest).toZonedDateTimeISO(when.timeZone).toPlainDate();
  for (;;) {
    const startsAt = startsOn(day, when.timeZone).find((start) => start >= earliest);
    if (startsAt !== undefined) {
      return { startsAt: new Date(startsAt), endsAt: new Date(startsAt + slotMinutes * 60_000) };
    }
    day = day.add({ days: 1 });
  }
}

/** When the slots of one day start, in milliseconds since 1970; none on a weekend. */
function startsOn(day: Temporal.PlainDate, timeZone: string): number[] {
  if (day.dayOfWeek > lastWorkday) return [];
  return (
    slotTimes
      .map((plainTime) => ({ plainTime, start: day.toZonedDateTime({ timeZone, plainTime }) }))
      // A time that the clock skips is moved by Temporal to one that exists: that is another slot, or none
      .filter(({ plainTime, start }) => start.toPlainDateTime().equals(day.toPlainDateTime(plainTime)))
      .map(({ start }) => start.epochMilliseconds)
  );
}

/**
 * One day of the clinic's calendar, from midnight to midnight by its clock: 23 or 25 hours when that changes.
 * @param date  `YYYY-MM-DD`
 * @returns first instant of the day, and first of the next
 */
export function dayOf(date: string, timeZone: string): { from: Date; until: Date } {
  const midnight = Temporal.PlainDate.from(date).toZonedDateTime(timeZone);
  const nextMidnight = Temporal.PlainDate.from(date).add({ days: 1 }).toZonedDateTime(timeZone);
  return { from: new Date(midnight.epochMilliseconds), until: new Date(nextMidnight.epochMilliseconds) };
}
