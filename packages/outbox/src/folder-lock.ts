import { mkdir, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { DatabaseSync } from "node:sqlite";
import { OpenDatabaseError } from "./errors.ts";

/**
 * Locks a folder against other openers: in this process, in other processes, and in containers with the same volume. It is the
 * operating system's lock on a file, taken through SQLite because Node.js has no call for it. It ends with the process, even after kill -9.
 * @returns a function that unlocks the folder
 * @throws {OpenDatabaseError} that names the process which has locked it
 */
export async function lockFolder(folder: string): Promise<() => void> {
  const holderFile = join(folder, "opened-by.txt");
  let lock: DatabaseSync | undefined;
  try {
    await mkdir(folder, { recursive: true });
    lock = new DatabaseSync(join(folder, "lock.sqlite"), { timeout: 0 });
    lock.exec("begin exclusive");
  } catch (error) {
    lock?.close();
    if (!isBusy(error)) {
      throw new OpenDatabaseError(
        "DATABASE_FOLDER_UNUSABLE",
        `The folder ${folder} cannot be written to (${codeOf(error)}). Set DATA_DIR to a writable folder.`,
      );
    }
    const holder = await readFile(holderFile, "utf8").catch(() => "another process");
    throw new OpenDatabaseError(
      "DATABASE_FOLDER_IN_USE",
      `The embedded database in ${folder} is open already, by ${holder.trim()}. Two processes would lose writes. ` +
        "Stop that process, set another DATA_DIR, or share a PostgreSQL (DATABASE_URL).",
    );
  }
  const program = process.argv[1] ?? process.execPath;
  await writeFile(holderFile, `process ${process.pid} (${program}), since ${new Date().toISOString()}\n`);
  return () => {
    if (lock.isOpen) lock.close();
  };
}

function isBusy(error: unknown): boolean {
  return error instanceof Error && "errcode" in error && error.errcode === 5;
}

function codeOf(error: unknown): string {
  if (!(error instanceof Error)) return "unknown error";
  return "code" in error && error.code !== "ERR_SQLITE_ERROR" ? String(error.code) : error.message;
}
