import { subscribe, unsubscribe } from "node:diagnostics_channel";
import { sql } from "kysely";
import { describe, expect } from "vitest";
import { addToOutbox, type Database, type MessageToSend, openDatabase, startRelay } from "../../src/index.ts";
import { databases, silent } from "./databases.ts";

const options = { schema: "test-outbox", logger: silent };

function add(database: Database<unknown>, key: string, message: unknown): Promise<string> {
  return database.transaction((tx) => addToOutbox(tx, { topic: "patient", key, message }));
}

async function rowsLeft(database: Database<unknown>): Promise<number> {
  const { rows } = await sql<{ count: number }>`select count(*)::int as count from outbox`.execute(database.kysely);
  return rows[0]?.count ?? -1;
}

describe.each(databases)("The outbox on %s", (_name, test) => {
  test("sends the messages of a transaction after its commit, and then deletes them", async ({ location, cleanup }) => {
    const database = cleanup(await openDatabase(location, options));
    const sent: unknown[] = [];
    cleanup(
      startRelay(database, {
        send: async ({ messageId, topic, message }) => sent.push({ messageId, topic, message }),
        logger: silent,
      }),
    );
    const messageId = await add(database, "key", { text: "ā 🏥", list: [1, null, { deep: true }] });
    await expect
      .poll(() => sent)
      .toEqual([{ messageId, topic: "patient", message: { text: "ā 🏥", list: [1, null, { deep: true }] } }]);
    await expect.poll(() => rowsLeft(database)).toBe(0);
  });

  test("sends nothing of a transaction that is rolled back", async ({ location, cleanup }) => {
    const database = cleanup(await openDatabase(location, options));
    const sent: unknown[] = [];
    cleanup(startRelay(database, { send: async ({ message }) => sent.push(message), logger: silent }));
    const failing = database.transaction(async (tx) => {
      await addToOutbox(tx, { topic: "patient", key: "key", message: "never" });
      throw new Error("changed its mind");
    });
    await expect(failing).rejects.toThrow("changed its mind");
    await add(database, "key", "marker");
    await expect.poll(() => sent).toEqual(["marker"]);
  });

  test("keeps the order within a key, including the messages of one transaction", async ({ location, cleanup }) => {
    const database = cleanup(await openDatabase(location, options));
    const sent: unknown[] = [];
    cleanup(startRelay(database, { send: async ({ message }) => sent.push(message), logger: silent }));
    for (let n = 0; n < 40; n += 4) {
      await database.transaction(async (tx) => {
        for (const more of [0, 1, 2, 3]) await addToOutbox(tx, { topic: "patient", key: "key", message: n + more });
      });
    }
    await expect.poll(() => sent).toEqual(Array.from({ length: 40 }, (_, n) => n));
  });

  test("sends more messages of one key than it reads in one query, in order", async ({ location, cleanup }) => {
    const database = cleanup(await openDatabase(location, options));
    await database.transaction(async (tx) => {
      for (let n = 0; n < 250; n += 1) await addToOutbox(tx, { topic: "patient", key: "key", message: n });
    });
    const sent: unknown[] = [];
    cleanup(startRelay(database, { send: async ({ message }) => sent.push(message), logger: silent }));
    await expect.poll(() => sent).toEqual(Array.from({ length: 250 }, (_, n) => n));
  });

  test("keeps messages that are added while no relay runs", async ({ location, cleanup }) => {
    const database = cleanup(await openDatabase(location, options));
    await add(database, "key", "earlier");
    const sent: unknown[] = [];
    cleanup(startRelay(database, { send: async ({ message }) => sent.push(message), logger: silent }));
    await expect.poll(() => sent).toEqual(["earlier"]);
  });

  test("repeats a refused message under the same id, and sends the messages behind it afterwards", async ({
    location,
    cleanup,
  }) => {
    const database = cleanup(await openDatabase(location, options));
    const attempts: string[] = [];
    const sent: unknown[] = [];
    const messageId = await add(database, "key", "first");
    await add(database, "key", "second");
    const send = async ({ messageId, message }: MessageToSend): Promise<void> => {
      if (message === "first") attempts.push(messageId);
      if (attempts.length < 3) throw new Error("refused");
      sent.push(message);
    };
    cleanup(startRelay(database, { send, logger: silent }));
    await expect.poll(() => sent).toEqual(["first", "second"]);
    expect(attempts).toEqual([messageId, messageId, messageId]);
  });

  test("delays no other key when one is refused again and again", async ({ location, cleanup }) => {
    const database = cleanup(await openDatabase(location, options));
    // More than one query reads, and added before all others
    for (let n = 0; n < 120; n += 1) await add(database, "refused", n);
    for (const key of ["one", "other"]) await add(database, key, key);
    const sent: unknown[] = [];
    const send = async ({ message }: MessageToSend): Promise<void> => {
      if (typeof message === "number") throw new Error("refused");
      sent.push(message);
    };
    cleanup(startRelay(database, { send, logger: silent }));
    await expect.poll(() => new Set(sent)).toEqual(new Set(["one", "other"]));
    await expect.poll(() => rowsLeft(database)).toBe(120);
  });

  test("delays no other key when one takes long to send", async ({ location, cleanup }) => {
    const database = cleanup(await openDatabase(location, options));
    const { promise, resolve } = Promise.withResolvers<void>();
    const sent: unknown[] = [];
    const send = async ({ message }: MessageToSend): Promise<void> => {
      if (message === "slow") await promise;
      sent.push(message);
    };
    cleanup(startRelay(database, { send, logger: silent }));
    await add(database, "slow", "slow");
    for (const key of ["one", "other"]) await add(database, key, key);
    await expect.poll(() => new Set(sent)).toEqual(new Set(["one", "other"]));
    resolve();
    await expect.poll(() => sent.at(-1)).toBe("slow");
  });

  test("waits for messages in flight when the relay is closed, and leaves the rest to the next relay", async ({
    location,
    cleanup,
  }) => {
    const database = cleanup(await openDatabase(location, options));
    const { promise, resolve } = Promise.withResolvers<void>();
    const sent: unknown[] = [];
    const first = startRelay(database, {
      send: async ({ message }) => {
        sent.push(message);
        await promise;
      },
      logger: silent,
    });
    await add(database, "key", "in flight");
    await add(database, "key", "behind it");
    await expect.poll(() => sent).toEqual(["in flight"]);
    const closed = first.close();
    resolve();
    await closed;
    expect(await rowsLeft(database)).toBe(1);
    cleanup(startRelay(database, { send: async ({ message }) => sent.push(message), logger: silent }));
    await expect.poll(() => sent).toEqual(["in flight", "behind it"]);
  });

  test("aborts the signal of a send that takes too long when the relay is closed, and keeps the message", async ({
    location,
    cleanup,
  }) => {
    const database = cleanup(await openDatabase(location, options));
    const started = Promise.withResolvers<void>();
    const relay = startRelay(database, {
      send: async ({ signal }) => {
        started.resolve();
        await new Promise((_, reject) => signal.addEventListener("abort", () => reject(new Error("aborted"))));
      },
      logger: silent,
      closeTimeoutMs: 50,
    });
    await add(database, "key", "message");
    await started.promise;
    await relay.close();
    expect(await rowsLeft(database)).toBe(1);
  });

  test("refuses messages outside of database.transaction", async ({ location, cleanup }) => {
    const database = cleanup(await openDatabase(location, options));
    const own = database.kysely
      .transaction()
      .execute((tx) => addToOutbox(tx, { topic: "patient", key: "key", message: 1 }));
    await expect(own).rejects.toThrow("database.transaction()");
    expect(await rowsLeft(database)).toBe(0);
  });

  test("publishes its named points: committed after the commit, sent before the row is deleted", async ({
    location,
    cleanup,
  }) => {
    const database = cleanup(await openDatabase(location, options));
    const seen: unknown[] = [];
    for (const name of ["outbox:committed", "outbox:sent"]) {
      const note = (facts: unknown): void => void seen.push([name, facts]);
      subscribe(name, note);
      cleanup(() => unsubscribe(name, note));
    }
    const messageId = await add(database, "key", "secret");
    expect(seen).toEqual([["outbox:committed", { messageId, topic: "patient" }]]);
    cleanup(startRelay(database, { send: async () => {}, logger: silent }));
    await expect.poll(() => seen.at(-1)).toEqual(["outbox:sent", { messageId, topic: "patient" }]);
  });

  test("logs neither the message nor the error's text when a message is refused", async ({ location, cleanup }) => {
    const database = cleanup(await openDatabase(location, options));
    const lines: string[] = [];
    const sent: unknown[] = [];
    const warn = (...line: unknown[]): void => void lines.push(JSON.stringify(line));
    const send = async ({ message }: MessageToSend): Promise<void> => {
      sent.push(message);
      throw Object.assign(new Error("no place for Violet"), { code: "REFUSED" });
    };
    cleanup(startRelay(database, { send, logger: { ...silent, warn } }));
    await add(database, "key", { given: "Violet" });
    await expect.poll(() => lines.length).toBeGreaterThan(0);
    expect(sent[0]).toEqual({ given: "Violet" });
    expect(lines.join("\n")).toContain("REFUSED");
    expect(lines.join("\n")).not.toContain("Violet");
  });
});
