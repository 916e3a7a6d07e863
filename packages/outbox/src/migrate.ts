import { createHash } from "node:crypto";
import { readdir, readFile } from "node:fs/promises";
import type { Connection } from "./connection.ts";
import { OpenDatabaseError } from "./errors.ts";

interface Migration {
  name: string;
  script: string;
  checksum: string;
}

const own = new URL("../migrations/", import.meta.url);

/**
 * Brings a schema up to date: the files of this package, then those of the service, each in the order of their names, once,
 * in a transaction of its own. Processes that start at once wait for each other. A file that another version of the
 * service has applied and this one does not have is left alone.
 * @throws {OpenDatabaseError} when a file fails, or is not what was applied
 */
export async function migrate(connection: Connection, schema: string, folder: URL | undefined): Promise<void> {
  const migrations = [
    ...(await readMigrations(own, "outbox/")),
    ...(folder === undefined ? [] : await readMigrations(folder, "")),
  ];
  const lock = `hashtextextended('migrations ${schema}', 0)`;
  await connection.query(`select pg_advisory_lock(${lock})`);
  try {
    await createSchema(connection, schema);
    const applied = await connection.query<{ name: string; checksum: string }>("select name, checksum from migration");
    const checksums = new Map(applied.map(({ name, checksum }) => [name, checksum]));
    for (const migration of migrations) {
      const checksum = checksums.get(migration.name);
      if (checksum === undefined) await apply(connection, migration);
      else if (checksum !== migration.checksum) throw changed(migration, schema);
    }
  } finally {
    if (!connection.lost.aborted) await connection.query(`select pg_advisory_unlock(${lock})`);
  }
}

async function readMigrations(folder: URL, prefix: string): Promise<Migration[]> {
  const files = (await readdir(folder)).filter((file) => file.endsWith(".sql")).toSorted();
  return Promise.all(
    files.map(async (file) => {
      const script = (await readFile(new URL(file, folder), "utf8")).replaceAll("\r\n", "\n");
      return { name: prefix + file, script, checksum: createHash("sha256").update(script).digest("hex") };
    }),
  );
}

async function createSchema(connection: Connection, schema: string): Promise<void> {
  // "if not exists" would want the right to create even where it exists
  const [found] = await connection.query("select from pg_namespace where nspname = $1", [schema]);
  if (found === undefined) await connection.run(`create schema "${schema}"`);
  const [table] = await connection.query("select from pg_tables where schemaname = $1 and tablename = 'migration'", [
    schema,
  ]);
  if (table !== undefined) return;
  await connection.run(
    "create table migration (name text primary key, checksum text not null, applied_at timestamptz not null default now())",
  );
}

async function apply(connection: Connection, { name, script, checksum }: Migration): Promise<void> {
  await connection.run("begin");
  try {
    await connection.run(script);
    await connection.query("insert into migration (name, checksum) values ($1, $2)", [name, checksum]);
    await connection.run("commit");
  } catch (error) {
    if (connection.lost.aborted) throw error;
    await connection.run("rollback");
    const why = error instanceof Error ? error.message : String(error);
    throw new OpenDatabaseError(
      "DATABASE_MIGRATION_FAILED",
      `The migration ${name} failed, and nothing of it was done: ${why}`,
      {
        cause: error,
      },
    );
  }
}

function changed({ name }: Migration, schema: string): OpenDatabaseError {
  return new OpenDatabaseError(
    "DATABASE_MIGRATION_CHANGED",
    `The migration ${name} is not what was applied to the schema "${schema}". Put the file back as it was, and write what is new into a further file.`,
  );
}
