import { setTimeout as sleep } from "node:timers/promises";

/**
 * Tries until it succeeds.
 * @param options.giveUp tells after a failure why trying again is in vain
 * @throws Error with what was awaited and the last failure as its cause
 */
export async function retryUntil<T>(
  awaited: string,
  attempt: () => Promise<T>,
  options: { timeoutMs: number; intervalMs?: number; giveUp?: () => Promise<string | undefined> },
): Promise<T> {
  const { timeoutMs, intervalMs = 100, giveUp } = options;
  const deadline = performance.now() + timeoutMs;
  for (;;) {
    try {
      return await attempt();
    } catch (error) {
      const reason =
        (await giveUp?.()) ?? (performance.now() > deadline ? `not within ${timeoutMs / 1000} s` : undefined);
      if (reason !== undefined) {
        const last = error instanceof Error ? error.message : String(error);
        throw new Error(`${awaited}: ${reason} (last: ${last})`, { cause: error });
      }
    }
    await sleep(intervalMs);
  }
}
