import { statfs } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type PrivateFolder, privateFolder } from "../processes/private-process.ts";

/** Creates an empty embedded database, the way `openDatabase` of packages/outbox does: in a folder `pgdata`. */
export async function createEmbeddedDatabase(): Promise<PrivateFolder> {
  const folder = await privateFolder("embedded-database", undefined, await fastFolder());
  try {
    const { PGlite } = await import("@electric-sql/pglite");
    const database = await PGlite.create(join(folder.path, "pgdata"));
    await database.close();
    return folder;
  } catch (error) {
    await folder.remove();
    throw error;
  }
}

/** A thousand small files are copied in 0.05 s in memory, and in 2 s on a disk that is busy with other tests. */
export async function fastFolder(): Promise<string> {
  const inMemory = "/dev/shm";
  const { bavail, bsize } = await statfs(inMemory).catch(() => ({ bavail: 0, bsize: 0 }));
  return bavail * bsize > 2 ** 30 ? inMemory : tmpdir();
}
