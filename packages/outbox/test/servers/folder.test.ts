import { statSync } from "node:fs";
import { chmod, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { type ServiceProcess, startProcess } from "@amqp-idioms/local-servers";
import { test as base } from "@amqp-idioms/local-servers/vitest";
import { expect } from "vitest";
import { type Database, openDatabase } from "../../src/index.ts";
import { silent } from "./databases.ts";

interface Tables {
  effect: { what: string };
}

const options = { schema: "test-folder", migrations: new URL("migrations/", import.meta.url), logger: silent };
const main = fileURLToPath(new URL("processes/hold.ts", import.meta.url));

/** A folder with an empty database. */
const test = base.extend("folder", ({ dataFolder }) => dataFolder());

function hold(folder: string): Promise<ServiceProcess> {
  return startProcess({ main, env: { DATA_DIR: folder } });
}

async function effects(database: Database<Tables>): Promise<string[]> {
  const rows = await database.kysely.selectFrom("effect").select("what").execute();
  return rows.map(({ what }) => what);
}

test("A folder that another process has open is refused, and the error names that process", async ({
  folder,
  cleanup,
}) => {
  const holder = cleanup(await hold(folder));
  const opening = openDatabase({ dataDir: folder }, options);
  await expect(opening).rejects.toMatchObject({
    name: "OpenDatabaseError",
    code: "DATABASE_FOLDER_IN_USE",
    message: expect.stringContaining(`process ${holder.pid} (${main})`),
  });
});

test("A folder that this process has open is refused", async ({ folder, cleanup }) => {
  const first = cleanup(await openDatabase<Tables>({ dataDir: folder }, options));
  await expect(openDatabase({ dataDir: folder }, options)).rejects.toThrow(`process ${process.pid} `);
  // A refused opener must not release the lock of the first
  await expect(openDatabase({ dataDir: folder }, options)).rejects.toThrow(`process ${process.pid} `);
  await first.close();
  const second = cleanup(await openDatabase<Tables>({ dataDir: folder }, options));
  expect(await second.isReachable()).toBe(true);
});

test("kill -9 frees the folder immediately, and all committed rows are in it", async ({ folder, cleanup }) => {
  const holder = cleanup(await hold(folder));
  await holder.kill();
  const database = cleanup(await openDatabase<Tables>({ dataDir: folder }, options));
  expect(await effects(database)).toEqual(["held"]);
});

test("A folder that local-servers has prepared is opened as it is, and not created anew", async ({
  folder,
  cleanup,
}) => {
  const created = (): number => statSync(join(folder, "pgdata", "PG_VERSION")).ino;
  const before = created();
  const database = cleanup(await openDatabase<Tables>({ dataDir: folder }, options));
  expect(await effects(database)).toEqual([]);
  expect(created()).toBe(before);
});

test("A folder that cannot be written to causes an error that says so", async ({ folder }) => {
  const file = join(folder, "file");
  await writeFile(file, "");
  await chmod(file, 0o400);
  await expect(openDatabase({ dataDir: join(file, "below") }, options)).rejects.toMatchObject({
    code: "DATABASE_FOLDER_UNUSABLE",
    message: expect.stringMatching(/cannot be written to \(ENOTDIR\).*DATA_DIR/),
  });
});
