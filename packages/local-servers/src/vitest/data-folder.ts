import { cpSync } from "node:fs";
import { mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { fastFolder } from "./embedded-database.ts";
import { ask } from "./run-api.ts";

/** A temporary folder that `DATA_DIR`, or `openDatabase({ dataDir })`, may name. */
export interface DataFolder extends AsyncDisposable {
  readonly path: string;
}

/**
 * Makes a temporary folder with an empty embedded database in it. A service takes 3 s of processor time to create a database and
 * 0.4 s to open one: so the run creates one, and each test gets a copy.
 * @param subfolder  where in the folder the database is: a service uses the subfolder of its name in `DATA_DIR`. @default the folder itself
 * @example
 * await using folder = await createDataFolder("scheduling");
 * await startProcess({ main, env: { DATA_DIR: folder.path } });
 */
export async function createDataFolder(subfolder = ""): Promise<DataFolder> {
  const template = await ask("embedded-database", undefined);
  const path = await mkdtemp(join(await fastFolder(), "data-"));
  const database = join(path, subfolder);
  await mkdir(database, { recursive: true });
  cpSync(join(template.folder, "pgdata"), join(database, "pgdata"), { recursive: true });
  // Without this file openDatabase assumes that the creation was interrupted, and creates the database anew
  await writeFile(join(database, "complete"), "");
  return { path, [Symbol.asyncDispose]: () => rm(path, { recursive: true, force: true }) };
}
