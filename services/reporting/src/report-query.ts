import { Temporal } from "temporal-polyfill";
import { z } from "zod";

/** What a request asks for. */
export interface ReportQuery {
  /** `YYYY-MM-DD`, both inclusive */
  readonly from: string;
  readonly to: string;
  /** Without it, the Accept header decides. */
  readonly format: "json" | "csv" | undefined;
}

const defaultDays = 30;
const maxDays = 3_660;

/** The database has these years. */
const day = z.iso
  .date({ error: "must be a day, YYYY-MM-DD", abort: true })
  .refine((date) => date >= "1900-01-01" && date < "3000-01-01", "must lie in the years 1900 to 2999");

/**
 * The schema of a report's query. `to` defaults to today, `from` to 29 days before `to`.
 * @param today  `YYYY-MM-DD`
 */
export function reportQuery(today: string) {
  return z
    .strictObject({
      from: day.optional(),
      to: day.optional(),
      format: z.enum(["json", "csv"], { error: "must be json or csv" }).optional(),
    })
    .transform(({ from, to = today, format }): ReportQuery => ({
      from: from ?? addDays(to, 1 - defaultDays),
      to,
      format,
    }))
    .refine(({ from, to }) => from <= to, {
      path: ["from"],
      error: "must not be after to, which defaults to today",
    })
    .refine(({ from, to }) => to < addDays(from, maxDays), {
      path: ["to"],
      error: `must lie within ${maxDays} days of from`,
    });
}

function addDays(date: string, days: number): string {
  return Temporal.PlainDate.from(date).add({ days }).toString();
}

/** @param timeZone  IANA name */
export function todayIn(timeZone: string): string {
  return Temporal.Now.plainDateISO(timeZone).toString();
}
