import { readFileSync } from "node:fs";
import { monotonicMs } from "./clock.ts";

/** When there is too little of the machine for broker and services: what is late then says nothing of them. */

const file = "/proc/pressure/cpu";
const everyMs = 200;
const scarce = 0.8;

export interface Span {
  readonly from: number;
  to: number;
}

/**
 * Notes when some process waited for a CPU most of the time (docs.kernel.org/accounting/psi.html). A kernel that does not tell notes nothing.
 * @returns what ends it
 */
export function watchCpu(spans: Span[]): () => void {
  if (waitedMs() === undefined) return () => undefined;
  let last = { at: monotonicMs(), waited: waitedMs() ?? 0 };
  const timer = setInterval(() => {
    const now = { at: monotonicMs(), waited: waitedMs() ?? 0 };
    if (now.waited - last.waited > scarce * (now.at - last.at)) extend(spans, last.at, now.at);
    last = now;
  }, everyMs);
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
