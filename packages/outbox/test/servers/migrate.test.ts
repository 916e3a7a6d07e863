import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { sql } from "kysely";
import { describe, expect } from "vitest";
import { type Database, type DatabaseLocation, openDatabase } from "../../src/index.ts";
import { databases, onPostgres, silent } from "./databases.ts";

interface Tables {
  step: { what: string };
}

/** A folder of migrations of the test's own. */
async function folderOf(files: Record<string, string>): Promise<{ url: URL; remove: () => Promise<void> }> {
  const path = await mkdtemp(join(tmpdir(), "migrations-"));
  for (const [name, script] of Object.entries(files)) await writeFile(join(path, name), script);
  return { url: pathToFileURL(`${path}/`), remove: () => rm(path, { recursive: true, force: true }) };
}

const createTable = "create table step (what text)";

function open(location: DatabaseLocation, migrations: URL): Promise<Database<Tables>> {
  return openDatabase<Tables>(location, { schema: "test-migrate", migrations, logger: silent });
}

describe.each(databases)("Migrations on %s", (_name, test) => {
  test("run in the order of their names, each in the service's own schema", async ({ location, cleanup }) => {
    const folder = await folderOf({
      "0010_last.sql": "insert into step values ('last')",
      "0002_second.sql": "insert into step values ('second'); insert into step values ('and more');",
      "0001_first.sql": createTable,
      "README.md": "not SQL",
    });
    cleanup(folder.remove);
    const database = cleanup(await open(location, folder.url));
    const steps = await database.kysely.selectFrom("step").select("what").execute();
    expect(steps.map(({ what }) => what)).toEqual(["second", "and more", "last"]);
    const { rows } = await sql`select distinct schemaname from pg_tables
      where tablename in ('step', 'outbox', 'inbox', 'migration')`.execute(database.kysely);
    expect(rows).toEqual([{ schemaname: "test-migrate" }]);
  });

  test("leave nothing of a file that fails, and the error names the file", async ({ location, cleanup }) => {
    const folder = await folderOf({ "0001_step.sql": `${createTable}; insert into nowhere values (1)` });
    cleanup(folder.remove);
    await expect(open(location, folder.url)).rejects.toMatchObject({
      code: "DATABASE_MIGRATION_FAILED",
      message: expect.stringMatching(/0001_step\.sql failed.*"nowhere" does not exist/),
    });
    // The second time it fails the same way: "step" was not left behind
    if ("url" in location) await expect(open(location, folder.url)).rejects.toThrow(/"nowhere" does not exist/);
  });
});

describe("Migrations of a service that is started more than once", () => {
  const test = onPostgres;
  test("run once, even if three processes start at the same time", async ({ location, cleanup }) => {
    const folder = await folderOf({
      "0001_step.sql": createTable,
      "0002_slow.sql": "select pg_sleep(0.3); insert into step values ('once')",
    });
    cleanup(folder.remove);
    const opened = await Promise.all([1, 2, 3].map(() => open(location, folder.url)));
    opened.forEach(cleanup);
    expect(await opened[0]?.kysely.selectFrom("step").select("what").execute()).toEqual([{ what: "once" }]);
  });

  test("run new files, and ignore files that a newer version has applied", async ({ location, cleanup }) => {
    const older = await folderOf({ "0001_step.sql": createTable });
    const newer = await folderOf({ "0001_step.sql": createTable, "0002_more.sql": "insert into step values ('new')" });
    cleanup(older.remove);
    cleanup(newer.remove);
    for (const folder of [older, newer, older, newer]) await (await open(location, folder.url)).close();
    const database = cleanup(await open(location, older.url));
    expect(await database.kysely.selectFrom("step").select("what").execute()).toEqual([{ what: "new" }]);
  });

  test("refuse a file that was changed after it was applied; line ends do not count", async ({ location, cleanup }) => {
    const before = await folderOf({ "0001_step.sql": `-- A step\n${createTable}\n` });
    const windows = await folderOf({ "0001_step.sql": `-- A step\r\n${createTable}\r\n` });
    const after = await folderOf({ "0001_step.sql": `-- A step\n${createTable.replace("what", "which")}\n` });
    for (const folder of [before, windows, after]) cleanup(folder.remove);
    for (const folder of [before, windows]) await (await open(location, folder.url)).close();
    await expect(open(location, after.url)).rejects.toMatchObject({
      code: "DATABASE_MIGRATION_CHANGED",
      message: expect.stringContaining("0001_step.sql was changed after it was applied"),
    });
  });
});
