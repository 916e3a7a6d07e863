import * as fc from "fast-check";
import { timeZoneSetting } from "@amqp-idioms/service-kit";
import { expect, test } from "vitest";
import { dayOf, nextFreeSlot } from "../../src/appointments.ts";
import type { Slot } from "../../src/appointments.ts";

// Whole, half and quarter hours from UTC; both hemispheres; half an hour of summer time; changes on workdays
const timeZones = [
  "UTC",
  "Europe/London",
  "America/New_York",
  "America/St_Johns",
  "Africa/Cairo",
  "Africa/Casablanca",
  "Asia/Tehran",
  "Asia/Kathmandu",
  "Australia/Sydney",
  "Australia/Lord_Howe",
  "Pacific/Chatham",
  "Pacific/Apia",
];
const minute = 60_000;
const timeZone = fc.constantFrom(...timeZones);
const now = fc.date({ min: new Date("2005-01-01"), max: new Date("2040-01-01"), noInvalidDate: true });

test("Every slot is within the clinic's hours, starts after now, and follows the previous slot without overlap", () => {
  fc.assert(
    fc.property(now, timeZone, (now, timeZone) => {
      let bookedUntil: Date | undefined;
      for (const { startsAt, endsAt } of book(40, now, timeZone)) {
        expect(startsAt.getTime()).toBeGreaterThan(now.getTime());
        expect(startsAt.getTime()).toBeGreaterThanOrEqual(bookedUntil?.getTime() ?? 0);
        expect(endsAt.getTime() - startsAt.getTime()).toBe(30 * minute);
        expect(isSlotStart(startsAt, timeZone)).toBe(true);
        expect(localTime(endsAt, timeZone).time <= "17:00").toBe(true);
        bookedUntil = endsAt;
      }
    }),
  );
});

test("No free slot is skipped", () => {
  fc.assert(
    fc.property(now, timeZone, fc.option(fc.nat(5_000)), (now, timeZone, bookedMinutes) => {
      const bookedUntil = bookedMinutes === null ? undefined : new Date(now.getTime() + bookedMinutes * minute);
      const slot = nextFreeSlot({ now, bookedUntil, timeZone });
      // All offsets of these zones are whole quarters of an hour, so all slots start on one
      const quarter = 15 * minute;
      const from = bookedUntil === undefined ? now.getTime() + 1 : Math.max(now.getTime() + 1, bookedUntil.getTime());
      for (let at = Math.ceil(from / quarter) * quarter; at < slot.startsAt.getTime(); at += quarter) {
        expect(isSlotStart(new Date(at), timeZone)).toBe(false);
      }
    }),
  );
});

test("A later booking never gets an earlier slot", () => {
  fc.assert(
    fc.property(now, fc.nat(20_000), timeZone, (now, waitedMinutes, timeZone) => {
      const later = new Date(now.getTime() + waitedMinutes * minute);
      const first = nextFreeSlot({ now, bookedUntil: undefined, timeZone });
      expect(nextFreeSlot({ now: later, bookedUntil: undefined, timeZone }).startsAt.getTime()).toBeGreaterThanOrEqual(
        first.startsAt.getTime(),
      );
    }),
  );
});

// The Wednesday before, so that the change of the clock lies inside
test.each([
  ["Europe/London", "2026-03-25T00:00:00Z"],
  ["Europe/London", "2026-10-21T00:00:00Z"],
  ["America/New_York", "2026-03-04T05:00:00Z"],
  ["America/New_York", "2026-10-28T04:00:00Z"],
  ["Australia/Lord_Howe", "2026-03-31T13:00:00Z"],
  ["Australia/Sydney", "2026-09-29T14:00:00Z"],
  ["Africa/Cairo", "2026-04-21T22:00:00Z"], // changes on a Friday
  ["America/St_Johns", "2006-03-29T03:30:00Z"],
])("The week in which the clock changes has 80 slots, 9:00 to 16:30 each workday: %s after %s", (timeZone, now) => {
  const local = book(80, new Date(now), timeZone).map(({ startsAt }) => localTime(startsAt, timeZone));
  const days = Map.groupBy(local, ({ weekday }) => weekday);
  expect([...days.keys()].toSorted()).toEqual(["Fri", "Mon", "Thu", "Tue", "Wed"]);
  for (const day of days.values()) expect(day.map(({ time }) => time)).toEqual(allTimes);
});

test("Every time zone that the setting accepts has slots and days", () => {
  for (const name of [...Intl.supportedValuesOf("timeZone"), "UTC", "GB", "US/Pacific", "+05:30"]) {
    const timeZone = timeZoneSetting.timeZone({ TIME_ZONE: name });
    const slot = nextFreeSlot({ now: new Date("2026-07-01T00:00:00Z"), bookedUntil: undefined, timeZone });
    expect([name, slot.startsAt.toISOString().slice(0, 9), hours("2026-07-01", timeZone)]).toEqual([
      name,
      "2026-07-0",
      24,
    ]);
  }
});

test("A day that the clock skips has no slots", () => {
  // Samoa crossed the date line: Thursday 29 December 2011 was followed by Saturday 31
  const thursdayEvening = new Date("2011-12-30T04:00:00Z");
  const slot = nextFreeSlot({ now: thursdayEvening, bookedUntil: undefined, timeZone: "Pacific/Apia" });
  expect(localTime(slot.startsAt, "Pacific/Apia")).toEqual({ weekday: "Mon", time: "09:00" });
  expect(slot.startsAt.toISOString()).toBe("2012-01-01T19:00:00.000Z");
});

test.each([
  ["a Monday before opening", "2026-01-05T08:59:59.999Z", "2026-01-05T09:00:00.000Z"],
  ["the instant at which a slot starts", "2026-01-05T09:00:00.000Z", "2026-01-05T09:30:00.000Z"],
  ["the middle of a slot", "2026-01-05T09:10:00.000Z", "2026-01-05T09:30:00.000Z"],
  ["just before the last slot", "2026-01-05T16:29:59.999Z", "2026-01-05T16:30:00.000Z"],
  ["during the last slot", "2026-01-05T16:31:00.000Z", "2026-01-06T09:00:00.000Z"],
  ["a Friday evening", "2026-01-09T18:00:00.000Z", "2026-01-12T09:00:00.000Z"],
  ["a Friday evening before summer time", "2026-03-27T18:00:00.000Z", "2026-03-30T08:00:00.000Z"],
])("In London, on %s, the next slot is the first one that starts later", (_, now, startsAt) => {
  const slot = nextFreeSlot({ now: new Date(now), bookedUntil: undefined, timeZone: "Europe/London" });
  expect(slot.startsAt.toISOString()).toBe(startsAt);
});

test("A new slot does not overlap appointments that were booked in another time zone", () => {
  // 10:15 to 10:45 by Kathmandu's clock begins a quarter after London's slots
  const bookedUntil = new Date("2026-01-05T10:15:00Z");
  const slot = nextFreeSlot({ now: new Date("2026-01-05T09:00:00Z"), bookedUntil, timeZone: "Europe/London" });
  expect(slot.startsAt.toISOString()).toBe("2026-01-05T10:30:00.000Z");
});

test("A day lasts from midnight to midnight in the clinic's time zone", () => {
  expect(dayOf("2026-07-01", "Europe/London").from.toISOString()).toBe("2026-06-30T23:00:00.000Z");
  expect(hours("2026-07-01", "Europe/London")).toBe(24);
  expect(hours("2026-03-29", "Europe/London")).toBe(23);
  expect(hours("2026-10-25", "Europe/London")).toBe(25);
  expect(hours("2011-12-30", "Pacific/Apia")).toBe(0);
});

function hours(date: string, timeZone: string): number {
  const { from, until } = dayOf(date, timeZone);
  return (until.getTime() - from.getTime()) / (60 * minute);
}

function book(count: number, now: Date, timeZone: string): Slot[] {
  const slots: Slot[] = [];
  while (slots.length < count) slots.push(nextFreeSlot({ now, bookedUntil: slots.at(-1)?.endsAt, timeZone }));
  return slots;
}

// What the tests compare with is Intl's opinion, not Temporal's

const allTimes = Array.from({ length: 16 }, (_, index) => {
  const hour = String(9 + Math.floor(index / 2)).padStart(2, "0");
  return `${hour}:${index % 2 === 0 ? "00" : "30"}`;
});

function isSlotStart(instant: Date, timeZone: string): boolean {
  const { weekday, time } = localTime(instant, timeZone);
  return !["Sat", "Sun"].includes(weekday) && allTimes.includes(time) && instant.getTime() % minute === 0;
}

const formats = new Map(
  timeZones.map((timeZone) => [
    timeZone,
    new Intl.DateTimeFormat("en-GB", { timeZone, weekday: "short", hour: "2-digit", minute: "2-digit" }),
  ]),
);

function localTime(instant: Date, timeZone: string): { weekday: string; time: string } {
  const parts = formats.get(timeZone)?.formatToParts(instant) ?? [];
  const part = (type: string): string => parts.find((part) => part.type === type)?.value ?? "";
  return { weekday: part("weekday"), time: `${part("hour")}:${part("minute")}` };
}
