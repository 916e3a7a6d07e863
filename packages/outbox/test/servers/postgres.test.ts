import { setTimeout as sleep } from "node:timers/promises";
import { inspect } from "node:util";
import { type Postgres, startPostgres, startProxy } from "@amqp-idioms/local-servers";
import { closeAll, test as base } from "@amqp-idioms/local-servers/vitest";
import { Client } from "pg";
import { describe, expect } from "vitest";
import { addToOutbox, openDatabase, startRelay } from "../../src/index.ts";
import { onPostgres, silent } from "./databases.ts";

interface Tables {
  effect: { what: string };
}

const options = { schema: "test-postgres", migrations: new URL("migrations/", import.meta.url), logger: silent };

/** A private PostgreSQL of this file, to be stopped and killed. */
const test = base
  // oxlint-disable-next-line no-empty-pattern -- vitest reads the parameters, and needs a pattern
  .extend("postgresOfFile", { scope: "file" }, async ({}, { onCleanup }): Promise<Postgres | string> => {
    const { server, reason } = await startPostgres({ env: {}, from: ["container", "machine"] });
    if (server === undefined) return reason;
    onCleanup(() => closeAll([server]));
    return server;
  })
  .extend("ownPostgres", async ({ postgresOfFile, skip }) => {
    if (typeof postgresOfFile === "string") return skip(postgresOfFile);
    await postgresOfFile.start();
    return postgresOfFile;
  })
  .extend("ownUrl", async ({ ownPostgres }) => (await ownPostgres.createDatabase()).url);

/** Records the lines that are logged, as text. */
function recorder() {
  const lines: string[] = [];
  return { lines, logger: { ...silent, warn: (...line: unknown[]) => void lines.push(JSON.stringify(line)) } };
}

async function refusal(url: URL): Promise<unknown> {
  return openDatabase({ url: url.href }, options).catch((error: unknown) => error);
}

describe("A PostgreSQL that does not answer", () => {
  test("is waited for, with one log line per attempt and without credentials in it", async ({
    ownPostgres,
    ownUrl,
    cleanup,
  }) => {
    await ownPostgres.stop();
    const { lines, logger } = recorder();
    const opening = openDatabase<Tables>({ url: ownUrl }, { ...options, logger });
    await expect.poll(() => lines.length).toBeGreaterThan(1);
    await ownPostgres.start();
    const database = cleanup(await opening);
    expect(await database.isReachable()).toBe(true);
    expect(lines[0]).toMatch(/PostgreSQL at [^"]+: ECONNREFUSED.*waiting for the database/);
    expect(lines.join("\n")).not.toContain(new URL(ownUrl).password);
  });

  test("is no longer waited for when the service stops", async ({ ownPostgres, ownUrl }) => {
    await ownPostgres.stop();
    const { lines, logger } = recorder();
    const stop = new AbortController();
    const opening = openDatabase({ url: ownUrl }, { ...options, logger, signal: stop.signal });
    await expect.poll(() => lines.length).toBeGreaterThan(0);
    const before = performance.now();
    stop.abort(new Error("stopping"));
    await expect(opening).rejects.toThrow("stopping");
    expect(performance.now() - before).toBeLessThan(500);
  });

  test("but keeps its connections open is no longer waited for when the service stops", async ({ ownUrl, cleanup }) => {
    const proxy = cleanup(await startProxy(ownUrl));
    proxy.freeze("to-client");
    const stop = new AbortController();
    const opening = openDatabase({ url: proxy.url }, { ...options, signal: stop.signal });
    await expect.poll(() => proxy.links.length).toBe(1);
    const before = performance.now();
    stop.abort(new Error("stopping"));
    await expect(opening).rejects.toThrow("stopping");
    expect(performance.now() - before).toBeLessThan(2_000);
  });
});

describe("A PostgreSQL that becomes unavailable", () => {
  test.for(["restart", "kill"] as const)(
    "by %s is used again when it answers, and the relay resumes: nothing is lost",
    async (fault, { ownPostgres, ownUrl, cleanup }) => {
      const database = cleanup(await openDatabase<Tables>({ url: ownUrl }, options));
      const received = new Set<unknown>();
      const send = async ({ message }: { message: unknown }): Promise<void> => void received.add(message);
      cleanup(startRelay(database, { send, logger: silent, sweepMs: 200 }));
      const committed = new Set<number>();
      const stop = new AbortController();
      const writing = (async () => {
        for (let n = 0; !stop.signal.aborted; n += 1) {
          await database
            .transaction((tx) => addToOutbox(tx, { topic: "t", key: `key ${n % 3}`, message: n }))
            .then(() => committed.add(n))
            .catch(() => sleep(20));
        }
      })();
      await expect.poll(() => received.size).toBeGreaterThan(20);
      await ownPostgres[fault]();
      await expect.poll(() => database.isReachable()).toBe(fault === "restart");
      await ownPostgres.start();
      await expect.poll(() => database.isReachable()).toBe(true);
      const before = committed.size;
      await expect.poll(() => committed.size).toBeGreaterThan(before + 20);
      stop.abort();
      await writing;
      await expect.poll(() => [...committed].filter((n) => !received.has(n))).toEqual([]);
    },
  );

  test("in the middle of a transaction makes only this transaction fail", async ({ ownPostgres, ownUrl, cleanup }) => {
    const database = cleanup(await openDatabase<Tables>({ url: ownUrl }, options));
    const broken = database.transaction(async (tx) => {
      await tx.insertInto("effect").values({ what: "lost" }).execute();
      await ownPostgres.restart();
      // No statement is in flight at this moment: the lost connection must not cause an unhandled error
      await sleep(50);
      await tx.insertInto("effect").values({ what: "lost as well" }).execute();
    });
    await expect(broken).rejects.toBeInstanceOf(Error);
    await database.transaction((tx) => tx.insertInto("effect").values({ what: "kept" }).execute());
    expect(await database.kysely.selectFrom("effect").select("what").execute()).toEqual([{ what: "kept" }]);
  });

  test("but keeps its connections open is reported as unreachable within a second, and closing ends in time", async ({
    ownUrl,
    cleanup,
  }) => {
    const proxy = cleanup(await startProxy(ownUrl));
    const database = await openDatabase<Tables>({ url: proxy.url }, options);
    const relay = startRelay(database, { send: async () => {}, logger: silent, closeTimeoutMs: 500 });
    await expect.poll(() => database.isReachable()).toBe(true);
    proxy.freeze("to-client");
    let before = performance.now();
    expect(await database.isReachable()).toBe(false);
    expect(performance.now() - before).toBeLessThan(1_500);
    before = performance.now();
    await relay.close();
    await database.close();
    // A second for the relay's connection, two for the pool
    expect(performance.now() - before).toBeLessThan(4_500);
  });
});

describe("Opening fails immediately", () => {
  const test = onPostgres;

  test("if the password is wrong, and the error says what to do and does not show the password", async ({
    database,
  }) => {
    const url = new URL(database.url);
    url.password = "wrong-secret";
    const error = await refusal(url);
    expect(error).toMatchObject({
      name: "OpenDatabaseError",
      code: "DATABASE_REFUSED",
      message: expect.stringMatching(/refuses the user or password: correct them in DATABASE_URL \(28P01\)/),
    });
    expect(inspect(error)).not.toContain("wrong-secret");
  });

  test("if DATABASE_URL is not a URL, and the error does not show it", async () => {
    const error = await openDatabase({ url: "//user:secret@host" }, options).catch((error: unknown) => error);
    expect(error).toMatchObject({ code: "DATABASE_REFUSED" });
    expect(inspect(error)).not.toContain("secret");
  });

  test("if the database does not exist, and the error names it", async ({ database }) => {
    const url = new URL(database.url);
    url.pathname = "/nowhere";
    expect(await refusal(url)).toMatchObject({
      message: expect.stringContaining('has no database "nowhere": create it'),
    });
  });

  test("if the password is missing", async ({ database }) => {
    const url = new URL(database.url);
    url.password = "";
    expect(await refusal(url)).toMatchObject({ message: expect.stringContaining("requires a password") });
  });

  test("if only one side wants TLS", async ({ database }) => {
    expect(await refusal(new URL(`${database.url}?sslmode=require`))).toMatchObject({
      message: expect.stringContaining("TLS"),
    });
  });

  test("if the user cannot create the schema, and the error says what to grant", async ({ database, cleanup }) => {
    const admin = new Client({ connectionString: database.url });
    await admin.connect();
    cleanup(() => admin.end());
    const role = `role_${new URL(database.url).pathname.slice(1)}`;
    await admin.query(`create role ${role} login password 'secret'`);
    cleanup(() => admin.query(`drop owned by ${role}; drop role ${role}`));
    const url = new URL(database.url);
    [url.username, url.password] = [role, "secret"];
    expect(await refusal(url)).toMatchObject({ message: expect.stringMatching(/does not allow.*grant create/) });

    // It needs no such right if the schema exists and is its own
    await admin.query(`create schema "test-postgres" authorization ${role}`);
    const opened = cleanup(await openDatabase<Tables>({ url: url.href }, options));
    expect(await opened.isReachable()).toBe(true);
  });
});
