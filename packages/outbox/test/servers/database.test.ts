import { existsSync } from "node:fs";
import { test } from "@amqp-idioms/local-servers/vitest";
import { sql } from "kysely";
import { describe, expect } from "vitest";
import { openDatabase } from "../../src/index.ts";
import { databases, silent } from "./databases.ts";

interface Tables {
  effect: { what: string };
}

const options = { schema: "test-database", migrations: new URL("migrations/", import.meta.url), logger: silent };

test("A database on memory:// commits transactions, and creates no folder", async ({ cleanup }) => {
  const database = cleanup(await openDatabase<Tables>({ dataDir: "memory://" }, options));
  await database.transaction((tx) => tx.insertInto("effect").values({ what: "stored" }).execute());
  expect(await database.kysely.selectFrom("effect").select("what").execute()).toEqual([{ what: "stored" }]);
  expect(existsSync("memory:")).toBe(false);
});

describe.each(databases)("A database on %s", (_name, test) => {
  test("reads every type the same way as the other database", async ({ location, cleanup }) => {
    const database = cleanup(await openDatabase<Tables>(location, options));
    const { rows } = await sql`
      select 9007199254740993::int8 as int8, 7::int4 as int4, 1.50::numeric as numeric, '2024-02-29'::date as date,
             '2024-02-29 12:00:00'::timestamp as "timestamp", '2024-02-29T12:00:00Z'::timestamptz as timestamptz,
             '{"a":[1]}'::json as json, '{"a":[1]}'::jsonb as jsonb, true as bool, null::int8 as "null",
             array[1,2]::int4[] as "array", count(*) as count from effect`.execute(database.kysely);
    expect(rows).toEqual([
      {
        int8: "9007199254740993",
        int4: 7,
        numeric: "1.50",
        date: "2024-02-29",
        timestamp: "2024-02-29 12:00:00",
        timestamptz: new Date("2024-02-29T12:00:00Z"),
        json: { a: [1] },
        jsonb: { a: [1] },
        bool: true,
        null: null,
        array: [1, 2],
        count: "0",
      },
    ]);
  });

  test("commits a transaction that resolves, and nothing of one that rejects", async ({ location, cleanup }) => {
    const database = cleanup(await openDatabase<Tables>(location, options));
    const result = await database.transaction(async (tx) => {
      await tx.insertInto("effect").values({ what: "kept" }).execute();
      return "result";
    });
    expect(result).toBe("result");
    const failing = database.transaction(async (tx) => {
      await tx.insertInto("effect").values({ what: "not kept" }).execute();
      throw new Error("no");
    });
    await expect(failing).rejects.toThrow("no");
    expect(await database.kysely.selectFrom("effect").select("what").execute()).toEqual([{ what: "kept" }]);
  });

  test("rolls back when a statement failed, even if its error was ignored", async ({ location, cleanup }) => {
    const database = cleanup(await openDatabase<Tables>(location, options));
    const careless = database.transaction(async (tx) => {
      await tx.insertInto("effect").values({ what: "lost" }).execute();
      await sql`select 1 / 0`.execute(tx).catch(() => {});
    });
    await expect(careless).rejects.toBeInstanceOf(Error);
    expect(await database.kysely.selectFrom("effect").selectAll().execute()).toEqual([]);
  });

  test("refuses a statement outside the open transaction, which would wait for itself", async ({
    location,
    cleanup,
  }) => {
    const database = cleanup(await openDatabase<Tables>(location, options));
    const beside = database.transaction(() => database.kysely.selectFrom("effect").selectAll().execute());
    await expect(beside).rejects.toThrow("Use the transaction that is passed to the callback");
    const nested = database.transaction(() => database.transaction(async () => {}));
    await expect(nested).rejects.toThrow("Use the transaction that is passed to the callback");
    const raw = database.transaction(() => sql`select 1`.execute(database.kysely));
    await expect(raw).rejects.toThrow("Use the transaction that is passed to the callback");
  });

  test("runs transactions that begin at the same time, one after the other if need be", async ({
    location,
    cleanup,
  }) => {
    const database = cleanup(await openDatabase<Tables>(location, options));
    const names = Array.from({ length: 30 }, (_, n) => `effect ${n}`);
    await Promise.all(
      names.map((what) => database.transaction((tx) => tx.insertInto("effect").values({ what }).execute())),
    );
    const rows = await database.kysely.selectFrom("effect").select("what").execute();
    expect(rows.map(({ what }) => what).toSorted()).toEqual(names.toSorted());
  });

  test("reports whether it can be reached", async ({ location, cleanup }) => {
    const database = cleanup(await openDatabase<Tables>(location, options));
    expect(await database.isReachable()).toBe(true);
    await database.close();
    expect(await database.isReachable()).toBe(false);
  });

  test("rejects a transaction that begins after close", async ({ location }) => {
    const database = await openDatabase<Tables>(location, options);
    await database.close();
    await expect(database.transaction(async () => {})).rejects.toThrow("The database is closed");
  });

  test("can be closed twice", async ({ location }) => {
    const database = await openDatabase<Tables>(location, options);
    await database.close();
    await expect(database.close()).resolves.toBeUndefined();
  });

  test("is not opened for a service that is already stopping", async ({ location }) => {
    const signal = AbortSignal.abort(new Error("stopping"));
    await expect(openDatabase(location, { ...options, signal })).rejects.toThrow("stopping");
  });
});
