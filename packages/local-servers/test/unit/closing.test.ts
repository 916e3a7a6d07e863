import { expect, test } from "vitest";
import { closeAll } from "../../src/processes/closing.ts";

class Stuck {
  [Symbol.asyncDispose](): Promise<void> {
    return new Promise(() => undefined);
  }
}

test("A resource that does not close in time is named in the error, and the others are closed", async () => {
  const closed: string[] = [];
  const opened = [() => closed.push("first"), new Stuck(), () => closed.push("third")];
  await expect(closeAll(opened, { timeoutMs: 10 })).rejects.toThrow(
    "Resource 2 of 3, Stuck, was not closed within 10 ms.",
  );
  expect(closed).toEqual(["third", "first"]);
});

test("An object without a prototype, as node:fs creates them, is closed", async () => {
  const closed: string[] = [];
  const bare = Object.assign(Object.create(null), { [Symbol.dispose]: () => closed.push("bare") });
  await closeAll([bare]);
  expect(closed).toEqual(["bare"]);
});

test("Several failures are reported together", async () => {
  const failing = [
    () => Promise.reject(new Error("one")),
    () => {
      throw new Error("two");
    },
  ];
  await expect(closeAll(failing)).rejects.toMatchObject({ errors: [new Error("two"), new Error("one")] });
});
