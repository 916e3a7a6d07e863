import { setTimeout as sleep } from "node:timers/promises";

/** Milliseconds of CLOCK_MONOTONIC, which is the same for all processes of a machine and is never set. */
export function monotonicMs(): number {
  return Number(process.hrtime.bigint()) / 1e6;
}

/** Polls `condition` until it is true or the time is over. @returns whether it became true */
export async function within(timeoutMs: number, condition: () => boolean | Promise<boolean>): Promise<boolean> {
  for (const deadline = monotonicMs() + timeoutMs; ; await sleep(50)) {
    if (await condition()) return true;
    if (monotonicMs() > deadline) return false;
  }
}
