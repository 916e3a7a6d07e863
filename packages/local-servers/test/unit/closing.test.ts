import { expect, test } from "vitest";
import { closeAll } from "../../src/processes/closing.ts";

class Stuck {
  [Symbol.asyncDispose](): Promise<void> {
    return new Promise(() => undefined);
  }
}

test("what does not close is named when its time is over, and what was opened before it is closed", async () => {
  const closed: string[] = [];
  const opened = [() => closed.push("first"), new Stuck(), () => closed.push("third")];
  await expect(closeAll(opened, { timeoutMs: 10 })).rejects.toThrow(
    "What was opened as 2 of 3, Stuck, was not closed within 10 ms.",
  );
  expect(closed).toEqual(["third", "first"]);
});

test("an object without a prototype, as node:fs makes them, is closed", async () => {
  const closed: string[] = [];
  const bare = Object.assign(Object.create(null), { [Symbol.dispose]: () => closed.push("bare") });
  await closeAll([bare]);
  expect(closed).toEqual(["bare"]);
});

test("of several failures all are told", async () => {
  const failing = [
    () => Promise.reject(new Error("one")),
    () => {
      throw new Error("two");
    },
  ];
  await expect(closeAll(failing)).rejects.toMatchObject({ errors: [new Error("two"), new Error("one")] });
});
