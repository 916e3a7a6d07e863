import { expect, test } from "vitest";
import { Resources } from "../../src/resources.ts";

test("closes the newest resource first, and afterwards in the same order those that were added meanwhile", async () => {
  const closed: string[] = [];
  const resources = new Resources({ error: () => {} } as never);
  const add = (name: string, close = () => {}): void => {
    resources.defer(name, () => {
      closed.push(name);
      close();
    });
  };
  add("first");
  add("second", () => {
    add("late, first");
    add("late, second");
  });
  await resources.close();
  expect(closed).toEqual(["second", "first", "late, second", "late, first"]);
});
