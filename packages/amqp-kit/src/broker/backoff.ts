const firstBackoffMs = 2_000;
const maxBackoffMs = 30_000;

/**
 * Returns the pause before the next attempt, in milliseconds. It has full jitter, so that a thousand processes do not reconnect in step.
 * @param outageMs  how long the outage has lasted. After the first two seconds no pause is longer than a third of it, so that a process
 *   reconnects within ten seconds of an outage of half a minute
 */
export function backoffMs(failures: number, outageMs = Infinity): number {
  const longestMs = Math.min(maxBackoffMs, Math.max(firstBackoffMs, outageMs / 3));
  return Math.random() * Math.min(longestMs, firstBackoffMs * 2 ** Math.min(failures, 10));
}
