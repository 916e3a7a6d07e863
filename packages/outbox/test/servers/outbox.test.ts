import { describe, expect } from "vitest";
import { addToOutbox, openDatabase, startRelay } from "../../src/index.ts";
import { databases, silent } from "./databases.ts";

describe.each(databases)("outbox on %s", (_name, test) => {
  test("what a transaction adds is sent when it commits, in the order of each key", async ({ location, cleanup }) => {
    const database = cleanup(await openDatabase(location, { schema: "test-outbox", logger: silent }));
    const received: unknown[] = [];
    cleanup(startRelay(database, { send: async ({ message }) => received.push(message), logger: silent }));
    for (let n = 0; n < 10; n += 1) {
      await database.transaction((tx) => addToOutbox(tx, { topic: "t", key: "k", message: { n } }));
    }
    await expect.poll(() => received).toEqual(Array.from({ length: 10 }, (_, n) => ({ n })));
  });
});
