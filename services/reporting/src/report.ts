import { ageBands } from "./registrations.ts";
import type { AgeBand } from "./registrations.ts";

/** How many patients of an age band were registered on a day. */
export interface RegistrationCount {
  readonly date: string;
  readonly band: AgeBand;
  readonly count: number;
}

export interface Report {
  /** Days with registrations, the earliest first. */
  readonly days: { date: string; count: number }[];
  /** All bands, including those with a count of 0, in the order of age. */
  readonly ageBands: { band: AgeBand; count: number }[];
}

/** @param counts  at most one per day and band, in any order */
export function reportOf(counts: readonly RegistrationCount[]): Report {
  const byDate = Map.groupBy(inOrder(counts), ({ date }) => date);
  const byBand = Map.groupBy(counts, ({ band }) => band);
  return {
    days: [...byDate].map(([date, counts]) => ({ date, count: sum(counts) })),
    ageBands: ageBands.map((band) => ({ band, count: sum(byBand.get(band) ?? []) })),
  };
}

/** A row per day and band with a count above 0, in the order of day and age. No field needs quotes. */
export function csvOf(counts: readonly RegistrationCount[]): string {
  const rows = inOrder(counts).map(({ date, band, count }) => `${date},${band},${count}`);
  return ["date,band,count", ...rows, ""].join("\n");
}

function inOrder(counts: readonly RegistrationCount[]): RegistrationCount[] {
  return counts.toSorted((one, other) => {
    if (one.date !== other.date) return one.date < other.date ? -1 : 1;
    return ageBands.indexOf(one.band) - ageBands.indexOf(other.band);
  });
}

function sum(counts: readonly RegistrationCount[]): number {
  return counts.reduce((sum, { count }) => sum + count, 0);
}
