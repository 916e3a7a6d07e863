import * as fc from "fast-check";
import { expect, test } from "vitest";
import { ageBands } from "../../src/registrations.ts";
import { csvOf, reportOf } from "../../src/report.ts";

const counts = [
  { date: "2026-06-02", band: "unknown", count: 1 },
  { date: "2026-06-02", band: "18-39", count: 2 },
  { date: "2026-06-01", band: "18-39", count: 3 },
  { date: "2026-06-01", band: "65+", count: 4 },
] as const;

test("The report has a count per day, in order, and for each of the five age bands", () => {
  expect(reportOf(counts)).toEqual({
    days: [
      { date: "2026-06-01", count: 7 },
      { date: "2026-06-02", count: 3 },
    ],
    ageBands: [
      { band: "0-17", count: 0 },
      { band: "18-39", count: 5 },
      { band: "40-64", count: 0 },
      { band: "65+", count: 4 },
      { band: "unknown", count: 1 },
    ],
  });
});

test("The CSV has a row per day and band with a count above 0, in order", () => {
  expect(csvOf(counts)).toBe(
    "date,band,count\n2026-06-01,18-39,3\n2026-06-01,65+,4\n2026-06-02,18-39,2\n2026-06-02,unknown,1\n",
  );
});

test("Without registrations the CSV is only the header, and the report has no days and five bands of 0", () => {
  expect(csvOf([])).toBe("date,band,count\n");
  expect(reportOf([])).toEqual({ days: [], ageBands: ageBands.map((band) => ({ band, count: 0 })) });
});

test("Days, age bands and CSV always add up to the same number", () => {
  const count = fc.record({
    date: fc.constantFrom("2026-06-01", "2026-06-02", "2026-06-03"),
    band: fc.constantFrom(...ageBands),
    count: fc.integer({ min: 1, max: 1_000 }),
  });
  const oncePerDayAndBand = fc.uniqueArray(count, { selector: ({ date, band }) => `${date} ${band}` });
  fc.assert(
    fc.property(oncePerDayAndBand, (counts) => {
      const total = add(counts.map(({ count }) => count));
      const report = reportOf(counts);
      const rows = csvOf(counts).trimEnd().split("\n").slice(1);
      expect(add(report.days.map(({ count }) => count))).toBe(total);
      expect(add(report.ageBands.map(({ count }) => count))).toBe(total);
      expect(add(rows.map((row) => Number(row.split(",")[2])))).toBe(total);
      expect(rows).toHaveLength(counts.length);
    }),
  );
});

function add(numbers: readonly number[]): number {
  return numbers.reduce((sum, number) => sum + number, 0);
}
