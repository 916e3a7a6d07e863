import { Client } from "pg";
import { describe, expect, test, type TestContext } from "vitest";
import { createDatabase, type Postgres, startPostgres } from "../../src/index.ts";

async function have(source: "container" | "machine", skip: TestContext["skip"]): Promise<Postgres> {
  const { server, reason } = await startPostgres({ from: [source], env: {} });
  return server ?? skip(reason);
}

async function query(url: string, statement: string): Promise<unknown[]> {
  const client = new Client({ connectionString: url });
  client.on("error", () => {});
  await client.connect();
  try {
    return (await client.query(statement)).rows;
  } finally {
    await client.end();
  }
}

describe.each(["container", "machine"] as const)("A PostgreSQL from %s", (source) => {
  test("keeps its address and all committed rows after kill -9 and after restart", async ({ skip }) => {
    await using server = await have(source, skip);
    expect(new URL(server.url).hostname).toBe("127.0.0.1");
    const { url } = await server.createDatabase();
    await query(url, "CREATE TABLE kept AS SELECT 1 AS number");
    await server.kill();
    await expect(query(url, "SELECT 1")).rejects.toThrow(/ECONNREFUSED|ECONNRESET|terminated/);
    await server.start();
    await server.restart();
    await expect(query(url, "SELECT number FROM kept")).resolves.toEqual([{ number: 1 }]);
  });

  test("disconnects the clients of a database that is closed", async ({ skip }) => {
    await using server = await have(source, skip);
    const database = await server.createDatabase();
    const client = new Client({ connectionString: database.url });
    const lost = new Promise<Error>((resolve) => client.on("error", resolve));
    await client.connect();
    await database.close();
    await expect(lost).resolves.toBeInstanceOf(Error);
    await expect(query(database.url, "SELECT 1")).rejects.toThrow("does not exist");
  });
});

describe("A small disk", () => {
  test("can be filled: PostgreSQL then writes nothing until there is free space again", async ({ skip }) => {
    const { server: found, reason } = await startPostgres({ from: ["machine"], env: {}, diskBytes: 256 * 1024 * 1024 });
    await using server = found ?? skip(reason);
    const disk = server.disk ?? skip("needs root, to mount a disk");
    const { url } = await server.createDatabase();
    await query(url, "CREATE TABLE filled (text text)");
    const fill = "INSERT INTO filled SELECT repeat('x', 1000) FROM generate_series(1, 20000)";
    await disk.fill();
    await expect(query(url, fill)).rejects.toThrow(/No space left|terminated|closed|ECONNRE/);
    await disk.free();
    await server.start();
    await expect(query(url, "SELECT count(*)::int AS count FROM filled")).resolves.toEqual([{ count: 0 }]);
    await query(url, fill);
  });
});

describe("A named PostgreSQL", () => {
  test("is used but not owned: stop is refused, and close leaves the server running", async ({ skip }) => {
    const { server: other, reason } = await startPostgres({ from: ["machine", "container"], env: {} });
    await using owned = other ?? skip(reason);
    const { server } = await startPostgres({ env: { DATABASE_URL: owned.url } });
    expect(server).toMatchObject({ source: "named", isOwned: false, url: owned.url });
    await expect(server?.stop()).rejects.toThrow("(DATABASE_URL) is not owned by this process");
    await server?.close();
    await using database = await createDatabase(owned.url);
    await expect(query(database.url, "SELECT 1 AS one")).resolves.toEqual([{ one: 1 }]);
  });
});
