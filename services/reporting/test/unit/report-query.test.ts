import { expect, test } from "vitest";
import { reportQuery, todayIn } from "../../src/report-query.ts";

const query = reportQuery("2026-03-30");

test.each([
  ["both days", { from: "2026-01-01", to: "2026-01-31" }, { from: "2026-01-01", to: "2026-01-31" }],
  ["one day", { from: "2026-01-01", to: "2026-01-01" }, { from: "2026-01-01", to: "2026-01-01" }],
  ["only from: until today", { from: "2026-01-01" }, { from: "2026-01-01", to: "2026-03-30" }],
  ["only to: the 30 days up to it", { to: "2024-03-01" }, { from: "2024-02-01", to: "2024-03-01" }],
  ["neither: the last 30 days", {}, { from: "2026-03-01", to: "2026-03-30" }],
  ["ten years", { from: "2016-03-23", to: "2026-03-30" }, { from: "2016-03-23", to: "2026-03-30" }],
])("A query may contain %s", (_, given, meant) => {
  expect(query.parse(given)).toEqual(meant);
});

test.each([
  ["no day", { from: "yesterday" }, [["from", "must be a day, YYYY-MM-DD"]]],
  ["nothing", { to: "" }, [["to", "must be a day, YYYY-MM-DD"]]],
  ["an instant", { to: "2026-01-01T00:00:00Z" }, [["to", "must be a day, YYYY-MM-DD"]]],
  ["a day that no calendar has", { from: "2026-02-29" }, [["from", "must be a day, YYYY-MM-DD"]]],
  ["a day of no use", { to: "0000-01-01" }, [["to", "must lie in the years 1900 to 2999"]]],
  ["a day twice", { from: ["2026-01-01", "2026-01-02"] }, [["from", "must be a day, YYYY-MM-DD"]]],
  [
    "from after to",
    { from: "2026-01-02", to: "2026-01-01" },
    [["from", "must not be after to, which defaults to today"]],
  ],
  ["from after today", { from: "2026-03-31" }, [["from", "must not be after to, which defaults to today"]]],
  ["more than ten years", { from: "2016-03-22", to: "2026-03-30" }, [["to", "must lie within 3660 days of from"]]],
  [
    "two faults at once",
    { from: "x", to: "y" },
    [
      ["from", "must be a day, YYYY-MM-DD"],
      ["to", "must be a day, YYYY-MM-DD"],
    ],
  ],
])("A query with %s is refused with the field and the rule", (_, given, faults) => {
  const { error } = query.safeParse(given);
  expect(error?.issues.map(({ path, message }) => [path.join("."), message])).toEqual(faults);
});

test("A misspelt field is refused, not ignored", () => {
  expect(query.safeParse({ form: "2026-01-01" }).success).toBe(false);
});

test("Today is the current day in the time zone", () => {
  const days = ["Pacific/Kiritimati", "Etc/GMT+12"].map(todayIn);
  expect(days[0]! > days[1]!).toBe(true);
});
