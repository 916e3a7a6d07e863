import { subscribe, unsubscribe } from "node:diagnostics_channel";
import { describe, expect } from "vitest";
import { addToInbox, openDatabase } from "../../src/index.ts";
import { databases, onPostgres, silent } from "./databases.ts";

const options = { schema: "test-inbox", logger: silent };
const message = { source: "notify.patient.add", messageId: "c0ffee" };

describe.each(databases)("The inbox on %s", (_name, test) => {
  test("lets a message take effect once", async ({ location, cleanup }) => {
    const database = cleanup(await openDatabase(location, options));
    const handle = (): Promise<boolean> => database.transaction((tx) => addToInbox(tx, message));
    expect([await handle(), await handle(), await handle()]).toEqual([true, false, false]);
  });

  test("forgets a message whose transaction is rolled back", async ({ location, cleanup }) => {
    const database = cleanup(await openDatabase(location, options));
    const failing = database.transaction(async (tx) => {
      await addToInbox(tx, message);
      throw new Error("no effect");
    });
    await expect(failing).rejects.toThrow("no effect");
    expect(await database.transaction((tx) => addToInbox(tx, message))).toBe(true);
  });

  test("distinguishes the same id from two sources", async ({ location, cleanup }) => {
    const database = cleanup(await openDatabase(location, options));
    const from = (source: string): Promise<boolean> =>
      database.transaction((tx) => addToInbox(tx, { ...message, source }));
    expect([await from("one"), await from("other"), await from("one")]).toEqual([true, true, false]);
  });

  test("publishes inbox:committed after the commit of an effect, and not for a repeat", async ({
    location,
    cleanup,
  }) => {
    const database = cleanup(await openDatabase(location, options));
    const seen: unknown[] = [];
    const note = (facts: unknown): void => void seen.push(facts);
    subscribe("inbox:committed", note);
    cleanup(() => unsubscribe("inbox:committed", note));
    await database.transaction(async (tx) => {
      await addToInbox(tx, message);
      expect(seen).toEqual([]);
    });
    await database.transaction((tx) => addToInbox(tx, message));
    expect(seen).toEqual([message]);
  });
});

describe("The inbox, with two concurrent transactions", () => {
  const test = onPostgres;
  test("of two concurrent transactions with one message, the second waits and has no effect (pitfall 58)", async ({
    location,
    cleanup,
  }) => {
    const database = cleanup(await openDatabase(location, options));
    const firstIn = Promise.withResolvers<void>();
    const letFirstEnd = Promise.withResolvers<void>();
    const order: string[] = [];
    const first = database.transaction(async (tx) => {
      expect(await addToInbox(tx, message)).toBe(true);
      firstIn.resolve();
      await letFirstEnd.promise;
      order.push("first commits");
    });
    await firstIn.promise;
    const second = database.transaction(async (tx) => {
      const isNew = await addToInbox(tx, message);
      order.push("second continues");
      return isNew;
    });
    // A later transaction with another message does not wait
    await database.transaction((tx) => addToInbox(tx, { ...message, messageId: "another" }));
    letFirstEnd.resolve();
    await first;
    expect(await second).toBe(false);
    expect(order).toEqual(["first commits", "second continues"]);
  });

  test("of two concurrent transactions with one message, the second has the effect if the first is rolled back", async ({
    location,
    cleanup,
  }) => {
    const database = cleanup(await openDatabase(location, options));
    const firstIn = Promise.withResolvers<void>();
    const letFirstEnd = Promise.withResolvers<void>();
    const first = database.transaction(async (tx) => {
      await addToInbox(tx, message);
      firstIn.resolve();
      await letFirstEnd.promise;
      throw new Error("rolled back");
    });
    await firstIn.promise;
    const second = database.transaction((tx) => addToInbox(tx, message));
    letFirstEnd.resolve();
    await expect(first).rejects.toThrow("rolled back");
    expect(await second).toBe(true);
  });
});
