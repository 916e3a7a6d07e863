import { setTimeout as sleep } from "node:timers/promises";

/** Milliseconds of CLOCK_MONOTONIC: one clock for all processes of a machine, which nobody sets. */
export function monotonicMs(): number {
  return Number(process.hrtime.bigint()) / 1e6;
}

/** Waits until `look` holds, at most so long. @returns whether it did */
export async function within(timeoutMs: number, look: () => boolean | Promise<boolean>): Promise<boolean> {
  for (const deadline = monotonicMs() + timeoutMs; ; await sleep(50)) {
    if (await look()) return true;
    if (monotonicMs() > deadline) return false;
  }
}
