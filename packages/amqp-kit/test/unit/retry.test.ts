import { readFileSync } from "node:fs";
import { describe, expect, test } from "vitest";
import { pauseMs } from "../../src/notify/availability.ts";
import { Reject, RetryLater } from "../../src/index.ts";
import { defaultRetryDelaysMs } from "../../src/options.ts";
import { delayAfter } from "../../src/notify/retry.ts";

describe("the delay before the next attempt", () => {
  const delaysMs = [1_000, 5_000, 30_000];
  const failed = new Error("not yet");

  test("is that of the declaration, and by default there are six attempts", () => {
    const delays = [1, 2, 3, 4, 5, 6].map((attempt) => delayAfter(attempt, failed, defaultRetryDelaysMs));
    expect(delays).toEqual([1_000, 5_000, 30_000, 120_000, 600_000, undefined]);
    expect(delayAfter(1, failed, [])).toBeUndefined();
    expect(delayAfter(Number.MAX_SAFE_INTEGER, failed, delaysMs)).toBeUndefined();
  });

  test("after RetryLater is the first that is not shorter, or the longest, as long as attempts are left", () => {
    expect([0, 1_000, 1_001, 5_000, 29_999, 30_000, 30_001, 1e12].map((delayMs) => after(delayMs))).toEqual([
      1_000, 1_000, 5_000, 5_000, 30_000, 30_000, 30_000, 30_000,
    ]);
    expect(after(1, 3)).toBe(1_000);
    expect(after(1, 4)).toBeUndefined();
  });

  test("after Reject there is none", () => {
    expect(delayAfter(1, new Reject("out of paper"), delaysMs)).toBeUndefined();
  });

  test("is the one that docs/notify.md shows, with the running total", () => {
    const docs = readFileSync(new URL("../../../../docs/notify.md", import.meta.url), "utf8");
    const [, table = ""] = /\| attempt \| after \| since the first \|\n\|[-|]+\|\n((?:\|.*\n)+)/.exec(docs) ?? [];
    let totalMs = 0;
    const rows = defaultRetryDelaysMs.map((delayMs, index) => {
      totalMs += delayMs;
      return `| ${index + 2} | ${inWords(delayMs)} | ${inWords(totalMs)} |\n`;
    });
    expect(table).toBe(`| 1 | - | - |\n${rows.join("")}`);
  });
});

function after(delayMs: number, attempt = 1): number | undefined {
  return delayAfter(attempt, new RetryLater({ delayMs }), [30_000, 1_000, 5_000]);
}

test("availability is checked again after a tenth of the outage so far, at least half a second, at most 30 s", () => {
  expect([0, 4_999, 5_000, 60_000, 299_999, 300_000, 86_400_000].map(pauseMs)).toEqual([
    500, 500, 500, 6_000, 29_999.9, 30_000, 30_000,
  ]);
});

function inWords(ms: number): string {
  const [minutes, seconds] = [Math.floor(ms / 60_000), (ms % 60_000) / 1_000];
  return [minutes > 0 ? [`${minutes} min`] : [], seconds > 0 ? [`${seconds} s`] : []].flat().join(" ");
}
