import { Temporal } from "temporal-polyfill";

export interface Slot {
  readonly startsAt: Date;
  readonly endsAt: Date;
}

export interface Appointment extends Slot {
  readonly patientId: string;
}

const slotMinutes = 30;
const lastWorkday = 5; // Friday: Temporal counts from Monday, 1
/** 09:00, 09:30, …, 16:30 in the clinic's time zone. The clinic closes at 17:00, when the last slot ends. */
const slotTimes = Array.from({ length: 16 }, (_, index) =>
  Temporal.PlainTime.from("09:00").add({ minutes: index * slotMinutes }),
);

/**
 * Finds the first slot that starts after `now` and is not booked.
 * @param bookedUntil  end of the last appointment. Slots are booked in order and never cancelled, so no slot before it is free
 * @param timeZone  IANA name of the clinic's time zone. A slot is identified by its instant
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

/** @returns when the slots of a day start, in milliseconds since 1970; none on a weekend */
function startsOn(day: Temporal.PlainDate, timeZone: string): number[] {
  if (day.dayOfWeek > lastWorkday) return [];
  return (
    slotTimes
      .map((plainTime) => ({ plainTime, start: day.toZonedDateTime({ timeZone, plainTime }) }))
      // Temporal moves a time that the clock skips in spring: that is another slot, or none
      .filter(({ plainTime, start }) => start.toPlainDateTime().equals(day.toPlainDateTime(plainTime)))
      .map(({ start }) => start.epochMilliseconds)
  );
}

/**
 * Converts a day in the clinic's time zone to instants. The day has 23 or 25 hours when the clock changes.
 * @param date  `YYYY-MM-DD`
 * @returns the first instant of the day and of the next day
 */
export function dayOf(date: string, timeZone: string): { from: Date; until: Date } {
  const midnight = Temporal.PlainDate.from(date).toZonedDateTime(timeZone);
  const nextMidnight = Temporal.PlainDate.from(date).add({ days: 1 }).toZonedDateTime(timeZone);
  return { from: new Date(midnight.epochMilliseconds), until: new Date(nextMidnight.epochMilliseconds) };
}
