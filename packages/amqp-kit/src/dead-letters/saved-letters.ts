import { open, rm } from "node:fs/promises";
import type { FileHandle } from "node:fs/promises";
import { dirname } from "node:path";
import { UsageError } from "../errors.ts";
import { messageOf } from "../telemetry/log.ts";

/**
 * A new file of JSON Lines. It is on the disk before the messages in it are deleted from the broker. It contains bodies: only its owner may
 * read it.
 */
export class SavedLetters implements AsyncDisposable {
  readonly #path: string;
  readonly #file: FileHandle;
  #bytes = 0;
  #keptBytes = 0;

  /** @throws {UsageError} the file cannot be written, or exists already */
  static async create(path: string): Promise<SavedLetters> {
    try {
      // Append mode: after a truncate, the next write starts at the new end and leaves no hole.
      return new SavedLetters(path, await open(path, "ax", 0o600));
    } catch (error) {
      throw new UsageError(`Cannot create the file for --save: ${messageOf(error)}`);
    }
  }

  private constructor(path: string, file: FileHandle) {
    this.#path = path;
    this.#file = file;
  }

  async write(lines: readonly string[]): Promise<void> {
    const text = Buffer.from(lines.map((line) => `${line}\n`).join(""));
    await this.#file.writeFile(text);
    this.#bytes += text.length;
  }

  /** Resolves when the file and its directory entry would survive a power failure. */
  async sync(): Promise<void> {
    await this.#file.sync();
    const folder = await open(dirname(this.#path));
    await folder.sync();
    await folder.close();
  }

  /** Keeps everything written so far. */
  keep(): void {
    this.#keptBytes = this.#bytes;
  }

  /** Removes everything written since `keep`: those messages were not deleted. */
  async forgetTheRest(): Promise<void> {
    await this.#file.truncate(this.#keptBytes);
    this.#bytes = this.#keptBytes;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    // After an error, the file may contain messages that were not deleted.
    await this.forgetTheRest();
    await this.#file.close();
    if (this.#keptBytes === 0) await rm(this.#path);
  }
}
