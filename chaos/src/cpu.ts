import { readFileSync } from "node:fs";
import { monotonicMs } from "./clock.ts";

/** Records when broker and services had to wait for a CPU: a delay at such a moment says nothing about them. */

const file = "/proc/pressure/cpu";
const pollIntervalMs = 200;
const shortageShare = 0.8;

export interface Span {
  readonly from: number;
  to: number;
}

/**
 * Records the times in which some process waited for a CPU most of the time (docs.kernel.org/accounting/psi.html). Records nothing on a kernel without that file.
 * @returns a function that stops the recording
 */
export function recordCpuShortages(spans: Span[]): () => void {
  if (waitedMs() === undefined) return () => undefined;
  let last = { at: monotonicMs(), waited: waitedMs() ?? 0 };
  const timer = setInterval(() => {
    const now = { at: monotonicMs(), waited: waitedMs() ?? 0 };
    if (now.waited - last.waited > shortageShare * (now.at - last.at)) extend(spans, last.at, now.at);
    last = now;
  }, pollIntervalMs);
  return () => clearInterval(timer);
}

function extend(spans: Span[], from: number, to: number): void {
  const open = spans.at(-1);
  if (open?.to === from) open.to = to;
  else spans.push({ from, to });
}

function waitedMs(): number | undefined {
  try {
    const [, total] = /^some .*total=(\d+)$/m.exec(readFileSync(file, "utf8")) ?? [];
    return total === undefined ? undefined : Number(total) / 1_000;
  } catch {
    return undefined;
  }
}
