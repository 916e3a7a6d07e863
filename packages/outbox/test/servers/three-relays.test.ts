import { setTimeout as sleep } from "node:timers/promises";
import { sql } from "kysely";
import { describe, expect } from "vitest";
import { addToOutbox, type Database, type MessageToSend, openDatabase, startRelay } from "../../src/index.ts";
import { onPostgres, silent } from "./databases.ts";

const options = { schema: "test-relays", logger: silent };

interface Keyed {
  key: string;
  n?: number;
}

/** Records the messages that arrived, in their order, and counts duplicates. */
class Ledger {
  readonly byKey = new Map<string, (number | undefined)[]>();
  /** In the order of arrival */
  readonly seen = new Set<string>();
  readonly keyOf = new Map<string, string>();
  doubled = 0;

  note({ messageId, message }: MessageToSend): void {
    const { key, n } = message as Keyed;
    if (this.seen.has(messageId)) {
      this.doubled += 1;
      return;
    }
    this.seen.add(messageId);
    this.keyOf.set(messageId, key);
    this.byKey.set(key, [...(this.byKey.get(key) ?? []), n]);
  }
}

/** Pseudo-random numbers, the same for each run with one seed, so that a failure can be repeated. */
function chance(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state * 1_664_525 + 1_013_904_223) % 2 ** 32;
    return state / 2 ** 32;
  };
}

/** Adds a message under a key and records, in the same transaction, its place among the commits of that key. */
async function addCounted(database: Database<unknown>, key: string, holdMs: number): Promise<void> {
  await database.transaction(async (tx) => {
    const messageId = await addToOutbox(tx, { topic: "t", key, message: { key } });
    await sql`insert into counted (key, message_id, n)
      values (${key}, ${messageId}, (select count(*) from counted where key = ${key}))`.execute(tx);
    await sleep(holdMs);
  });
}

describe("Three relays on one PostgreSQL", () => {
  const test = onPostgres;

  test("lose nothing and keep each key's order of commits, despite refused publishes and lost connections (pitfall 48)", async ({
    database,
    location,
    cleanup,
  }) => {
    const seed = Date.now() % 1_000_000;
    const random = chance(seed);
    const ledger = new Ledger();
    const send = async (message: MessageToSend): Promise<void> => {
      await sleep(random() * 4);
      const outcome = random();
      // Refused; or the outcome is unknown: the message arrived, and its sender does not know
      if (outcome < 0.03) throw new Error("refused");
      ledger.note(message);
      if (outcome < 0.06) throw new Error("unknown");
    };
    // Its connections have another name than those of the relays, because they are not cut
    const writer = cleanup(await openDatabase({ url: `${database.url}?application_name=writer` }, options));
    await sql`create table counted (key text, message_id text, n int4)`.execute(writer.kysely);
    const databases = await Promise.all([1, 2, 3].map(() => openDatabase(location, options)));
    for (const database of databases) {
      cleanup(database);
      cleanup(startRelay(database, { send, logger: silent, sweepMs: 500, concurrency: 7 }));
    }

    const keys = Array.from({ length: 12 }, (_, n) => `key-${n}`);
    const perKey = 40;
    const writing = Promise.all(
      keys.flatMap((key) =>
        // Two concurrent writers per key
        [1, 2].map(async () => {
          for (let n = 0; n < perKey / 2; n += 1) await addCounted(writer, key, random() * 5);
        }),
      ),
    );
    // Meanwhile the connections that hold a relay's keys are cut
    let cuts = 0;
    while (cuts < 6 && ledger.seen.size < keys.length * perKey) {
      const { rows } = await sql`select pg_terminate_backend(pid) from pg_stat_activity
        where application_name <> 'writer' and datname = current_database()
          and pid in (select pid from pg_locks where locktype = 'advisory')`.execute(writer.kysely);
      cuts += rows.length;
      await sleep(20);
    }
    await writing;

    await expect.poll(() => ledger.seen.size, { message: `seed ${seed}`, timeout: 40_000 }).toBe(keys.length * perKey);
    const { rows } = await sql<{
      message_id: string;
    }>`select message_id from counted order by key collate "C", n`.execute(writer.kysely);
    const byKey = Map.groupBy(ledger.seen, (messageId) => ledger.keyOf.get(messageId));
    const arrived = [...byKey].toSorted(([one = ""], [other = ""]) => (one < other ? -1 : 1));
    const ids = rows.map((row) => row.message_id);
    expect(
      arrived.flatMap(([, messageIds]) => messageIds),
      `seed ${seed}`,
    ).toEqual(ids);
    await expect
      .poll(async () => (await sql`select from outbox`.execute(writer.kysely)).rows.length, { timeout: 40_000 })
      .toBe(0);
  });

  test("send each message once when nothing goes wrong (pitfall 48)", async ({ location, cleanup }) => {
    const ledger = new Ledger();
    const writer = cleanup(await openDatabase(location, options));
    for (let relay = 0; relay < 3; relay += 1) {
      const database = cleanup(await openDatabase(location, options));
      cleanup(startRelay(database, { send: async (message) => ledger.note(message), logger: silent, concurrency: 3 }));
    }
    await Promise.all(
      Array.from({ length: 300 }, (_, n) =>
        writer.transaction((tx) =>
          addToOutbox(tx, { topic: "t", key: `key ${n % 30}`, message: { key: `key ${n % 30}`, n } }),
        ),
      ),
    );
    await expect.poll(async () => (await sql`select from outbox`.execute(writer.kysely)).rows.length).toBe(0);
    expect([ledger.seen.size, ledger.doubled]).toEqual([300, 0]);
  });

  test("send a message with a lower number that is committed later (pitfall 48)", async ({ location, cleanup }) => {
    const ledger = new Ledger();
    const database = cleanup(await openDatabase(location, options));
    cleanup(startRelay(database, { send: async (message) => ledger.note(message), logger: silent }));
    const added = Promise.withResolvers<void>();
    const commit = Promise.withResolvers<void>();
    const late = database.transaction(async (tx) => {
      await addToOutbox(tx, { topic: "t", key: "late", message: { key: "late", n: 1 } });
      added.resolve();
      await commit.promise;
    });
    await added.promise;
    await database.transaction((tx) => addToOutbox(tx, { topic: "t", key: "early", message: { key: "early", n: 2 } }));
    await expect.poll(() => [...ledger.byKey]).toEqual([["early", [2]]]);
    commit.resolve();
    await late;
    await expect.poll(() => [...ledger.byKey.keys()]).toEqual(["early", "late"]);
  });

  test("send no message of a key before those of an earlier transaction that is still open", async ({
    location,
    cleanup,
  }) => {
    const ledger = new Ledger();
    const database = cleanup(await openDatabase(location, options));
    cleanup(startRelay(database, { send: async (message) => ledger.note(message), logger: silent }));
    const added = Promise.withResolvers<void>();
    const commit = Promise.withResolvers<void>();
    const first = database.transaction(async (tx) => {
      await addToOutbox(tx, { topic: "t", key: "key", message: { key: "key", n: 1 } });
      added.resolve();
      await commit.promise;
    });
    await added.promise;
    const second = database.transaction((tx) =>
      addToOutbox(tx, { topic: "t", key: "key", message: { key: "key", n: 2 } }),
    );
    // A later transaction with another key does not wait
    await database.transaction((tx) =>
      addToOutbox(tx, { topic: "t", key: "marker", message: { key: "marker", n: 3 } }),
    );
    await expect.poll(() => [...ledger.byKey.keys()]).toEqual(["marker"]);
    commit.resolve();
    await Promise.all([first, second]);
    await expect.poll(() => ledger.byKey.get("key")).toEqual([1, 2]);
  });

  test("take over the key of a frozen relay as soon as its connection ends", async ({ location, cleanup }) => {
    const ledger = new Ledger();
    const stuck = Promise.withResolvers<void>();
    const inFlight = Promise.withResolvers<void>();
    const database = cleanup(await openDatabase(location, options));
    await database.transaction(async (tx) => {
      for (const n of [1, 2, 3]) await addToOutbox(tx, { topic: "t", key: "key", message: { key: "key", n } });
    });
    const frozen = cleanup(await openDatabase(location, options));
    const late: unknown[] = [];
    cleanup(
      startRelay(frozen, {
        send: async ({ message, signal }) => {
          inFlight.resolve();
          await stuck.promise;
          late.push([message, signal.aborted]);
        },
        logger: silent,
      }),
    );
    await inFlight.promise;
    cleanup(startRelay(database, { send: async (message) => ledger.note(message), logger: silent, sweepMs: 200 }));
    // Only this test's: pg_locks lists the locks of all databases on the server
    await sql`select pg_terminate_backend(pid) from pg_stat_activity
      where datname = current_database() and pid in (select pid from pg_locks where locktype = 'advisory')`.execute(
      database.kysely,
    );
    await expect.poll(() => ledger.byKey.get("key")).toEqual([1, 2, 3]);
    stuck.resolve();
    // Its signal was aborted, and it sends nothing more
    await expect.poll(() => late).toEqual([[{ key: "key", n: 1 }, true]]);
  });
});
