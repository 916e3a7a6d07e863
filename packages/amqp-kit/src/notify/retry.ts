import { Reject, RetryLater } from "../errors.ts";

/** The attempts of a message that have failed so far. */
export interface Failures {
  /** The number of attempts made, including the one that just failed. */
  attempt: number;
  /** RFC 3339 */
  firstFailedAt: string;
}

/**
 * @param attempt  the one that failed
 * @returns the delay before the next attempt, in milliseconds; undefined if there is none
 */
export function delayAfter(attempt: number, error: unknown, retryDelaysMs: readonly number[]): number | undefined {
  const next = retryDelaysMs[attempt - 1];
  if (next === undefined || error instanceof Reject) return undefined;
  if (!(error instanceof RetryLater)) return next;
  const steps = retryDelaysMs.toSorted((one, other) => one - other);
  return steps.find((step) => step >= error.delayMs) ?? steps.at(-1);
}
