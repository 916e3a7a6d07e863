import { setTimeout as sleep } from "node:timers/promises";
import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";
import { expect, test } from "vitest";
import { Deadline, Gate } from "../../src/broker/deadline.ts";

test("a limit longer than a timer can wait, as an expiration from outside may be, does not end at once", async () => {
  const deadline = new Deadline(2 ** 32 - 1);
  await expect(deadline.race(sleep(20, "done"), () => new Error("expired"))).resolves.toBe("done");
});

test("a gate that stays closed keeps nothing of those who gave up", async () => {
  setFlagsFromString("--expose-gc");
  const collect: () => void = runInNewContext("gc");
  const gate = new Gate();
  const before = process.memoryUsage().heapUsed;
  for (let round = 0; round < 20; round++) {
    const passes = Array.from({ length: 500 }, async () => {
      const kept = Array.from({ length: 1_000 }, (_, index) => index);
      await gate.pass(new Deadline(1), () => new Error(`gave up with ${kept.length}`));
    });
    expect((await Promise.allSettled(passes)).every(({ status }) => status === "rejected")).toBe(true);
  }
  collect();
  // 10,000 of at least 4 kB each went through
  expect(process.memoryUsage().heapUsed - before).toBeLessThan(20 * 1024 * 1024);
});
