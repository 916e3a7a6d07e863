import { expect, onTestFinished, test, vi } from "vitest";
import { Drops } from "../../src/telemetry/drops.ts";
import { silent } from "../../src/telemetry/log.ts";

test("the first dropped message is logged immediately, the others summed up, all of them in the end (pitfall 107)", () => {
  vi.useFakeTimers();
  onTestFinished(() => void vi.useRealTimers());
  const logged: object[] = [];
  const drops = new Drops("prices", { ...silent, warn: (facts) => logged.push(facts) });
  const counts = (): unknown[] => logged.splice(0).map((facts) => ({ ...facts, contract: undefined }));

  drops.count("blocked");
  expect(counts()).toEqual([{ reason: "blocked", count: 1 }]);
  drops.count("blocked", 2);
  drops.count("blocked");
  drops.count("disconnected");
  expect(counts()).toEqual([{ reason: "disconnected", count: 1 }]);
  vi.advanceTimersByTime(10_000);
  expect(counts()).toEqual([{ reason: "blocked", count: 3 }]);
  vi.advanceTimersByTime(60_000);
  drops.count("blocked");
  drops.count("blocked", 5);
  expect(counts()).toEqual([{ reason: "blocked", count: 1 }]);
  drops.close();
  expect(counts()).toEqual([{ reason: "blocked", count: 5 }]);
  expect(vi.getTimerCount()).toBe(0);
});
