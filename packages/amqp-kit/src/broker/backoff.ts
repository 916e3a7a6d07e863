const firstBackoffMs = 2_000;
const maxBackoffMs = 30_000;

/**
 * Full jitter, so that a thousand processes do not come back in step.
 * @param awayMs  how long what is tried has been away: no pause is longer than a third of that (but for the first, short one), so that who was
 *   away for half a minute is back within ten seconds
 */
export function backoffMs(failures: number, awayMs = Infinity): number {
  const longestMs = Math.min(maxBackoffMs, Math.max(firstBackoffMs, awayMs / 3));
  return Math.random() * Math.min(longestMs, firstBackoffMs * 2 ** Math.min(failures, 10));
}
