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
 * Applies the migrations to a schema: the files of this package, then those of the service, in the order of their names. Each file
 * runs once, in its own transaction. Processes that start at the same time wait for each other. Files that a newer version of the
 * service has applied are ignored.
 * @throws {OpenDatabaseError} if a file fails, or was changed after it was applied
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
  // "if not exists" needs the right to create schemas even if the schema exists
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
      `The migration ${name} failed and was rolled back: ${why}`,
      {
        cause: error,
      },
    );
  }
}

function changed({ name }: Migration, schema: string): OpenDatabaseError {
  return new OpenDatabaseError(
    "DATABASE_MIGRATION_CHANGED",
    `The migration ${name} was changed after it was applied to the schema "${schema}". Restore the file, and put the change into a new file.`,
  );
}
