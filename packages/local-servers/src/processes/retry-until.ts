import { setTimeout as sleep } from "node:timers/promises";

/**
 * Repeats `attempt` until it succeeds.
 * @param awaited  what the caller waits for, as a sentence: "RabbitMQ accepts connections"
 * @param options.giveUp  called after a failure; returns the reason if further attempts are useless
 * @throws Error that says what was awaited and for how long, with the last failure as its cause
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
        throw new Error(`Waited until ${awaited}: ${reason}. Last error: ${last}`, { cause: error });
      }
    }
    await sleep(intervalMs);
  }
}
