import * as fc from "fast-check";
import { expect, test } from "vitest";
import { ageBandOn, registrationOf } from "../../src/registrations.ts";

const patientId = "5b5a4a8e-6f6b-4f0e-9a54-0c2f6f1f2a10";

test.each([
  ["Europe/London", "2026-01-15T23:59:59.999Z", "2026-01-15"],
  ["Europe/London", "2026-07-15T22:59:59.999Z", "2026-07-15"],
  ["Europe/London", "2026-07-15T23:00:00Z", "2026-07-16"],
  ["America/New_York", "2026-01-01T04:59:59Z", "2025-12-31"],
  ["America/New_York", "2026-01-01T05:00:00Z", "2026-01-01"],
  ["Asia/Kathmandu", "2026-01-01T18:15:00Z", "2026-01-02"],
  ["Pacific/Kiritimati", "2026-01-01T10:00:00.5Z", "2026-01-02"],
  ["Europe/London", "2026-01-15T23:59:59.9999999999Z", "2026-01-15"],
])("A registration counts on its day in %s: %s is %s", (timeZone, registeredAt, day) => {
  expect(registrationOf({ patientId, birthDate: null, registeredAt }, timeZone).day).toBe(day);
});

test("The age is determined on the day in the time zone, not in UTC", () => {
  const patient = { patientId, birthDate: "2008-07-16", registeredAt: "2026-07-15T23:30:00Z" };
  expect(registrationOf(patient, "Europe/London").ageBand).toBe("18-39");
  expect(registrationOf(patient, "UTC").ageBand).toBe("0-17");
});

test.each([
  ["2026-06-01", "2026-06-01", "0-17"], // born that day
  ["2026-06-01", "2008-06-02", "0-17"], // 18 tomorrow
  ["2026-06-01", "2008-06-01", "18-39"], // 18 today
  ["2026-06-01", "1986-06-02", "18-39"],
  ["2026-06-01", "1986-06-01", "40-64"],
  ["2026-06-01", "1961-06-02", "40-64"],
  ["2026-06-01", "1961-06-01", "65+"],
  ["2026-06-01", "1900-01-01", "65+"],
  ["2026-06-01", null, "unknown"],
  ["2026-06-01", "2026-06-02", "unknown"], // not born yet: a mistake
  ["2022-02-28", "2004-02-29", "0-17"], // no 29 February in 2022: 18 on 1 March
  ["2022-03-01", "2004-02-29", "18-39"],
  ["2044-02-28", "2004-02-29", "18-39"], // 2044 has one
  ["2044-02-29", "2004-02-29", "40-64"],
])("On %s a patient born on %s counts as %s", (day, birthDate, band) => {
  expect(ageBandOn(day, birthDate)).toBe(band);
});

test("A later day never gives a lower age band", () => {
  const days = { min: new Date("1900-01-01"), max: new Date("2100-01-01"), noInvalidDate: true };
  const date = fc.date(days).map((date) => date.toISOString().slice(0, 10));
  const order = ["0-17", "18-39", "40-64", "65+"];
  fc.assert(
    fc.property(date, date, date, (...dates) => {
      const [born, first, second] = dates.toSorted() as [string, string, string];
      expect(order.indexOf(ageBandOn(second, born))).toBeGreaterThanOrEqual(order.indexOf(ageBandOn(first, born)));
      expect(order).toContain(ageBandOn(first, born));
    }),
  );
});

test("A registration stores only the patient's id, the day and the band", () => {
  const patient = {
    patientId,
    given: "Ann",
    surname: "Lee",
    birthDate: "1980-01-01",
    registeredAt: "2026-06-01T12:00:00Z",
  };
  expect(registrationOf(patient, "UTC")).toEqual({ patientId, day: "2026-06-01", ageBand: "40-64" });
});
