import { z } from "zod";

/** An instant of RFC 3339 with any offset. Parsing converts it to UTC and keeps its fraction of a second. PostgreSQL has no year 0. */
export const instant = z.iso
  .datetime({ offset: true })
  .overwrite(inUtc)
  .refine((text) => /^(?!0000)\d{4}-/.test(text), "must be in the years 0001 to 9999, in UTC");

function inUtc(text: string): string {
  if (text.endsWith("Z")) return text;
  const {
    toMinute = "",
    seconds = ":00",
    fraction = "",
    offset = "",
  } = /^(?<toMinute>.{16})(?<seconds>:\d\d)?(?<fraction>\.\d+)?(?<offset>.{6})$/.exec(text)?.groups ?? {};
  const date = new Date(`${toMinute}${seconds}${offset}`);
  return Number.isNaN(date.getTime()) ? text : date.toISOString().replace(".000Z", `${fraction}Z`);
}
