import { setTimeout as sleep } from "node:timers/promises";
import { expect, test } from "vitest";
import { Deadline } from "../../src/deadline.ts";

test("a limit longer than a timer can wait, as an expiration from outside may be, does not end at once", async () => {
  const deadline = new Deadline(2 ** 32 - 1);
  await expect(deadline.race(sleep(20, "done"), () => new Error("expired"))).resolves.toBe("done");
});
