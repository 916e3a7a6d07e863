import { open, rm } from "node:fs/promises";
import type { FileHandle } from "node:fs/promises";
import { dirname } from "node:path";
import { UsageError } from "../errors.ts";
import { messageOf } from "../telemetry/log.ts";

/** A new file of JSON Lines that is on the disk before what it holds is deleted elsewhere. Only its owner may read it: it holds bodies. */
export class SavedLetters implements AsyncDisposable {
  readonly #path: string;
  readonly #file: FileHandle;
  #bytes = 0;
  #keptBytes = 0;

  /** @throws {UsageError} it cannot be written, or is there already */
  static async create(path: string): Promise<SavedLetters> {
    try {
      // Appends: once shortened it is written on at its end, and not behind a hole.
      return new SavedLetters(path, await open(path, "ax", 0o600));
    } catch (error) {
      throw new UsageError(`Cannot save to a new file there: ${messageOf(error)}`);
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

  /** Resolves when the file, and its name, would outlive a power cut. */
  async sync(): Promise<void> {
    await this.#file.sync();
    const folder = await open(dirname(this.#path));
    await folder.sync();
    await folder.close();
  }

  /** What was written so far stays. */
  keep(): void {
    this.#keptBytes = this.#bytes;
  }

  /** What was written since is not discarded after all. */
  async forgetTheRest(): Promise<void> {
    await this.#file.truncate(this.#keptBytes);
    this.#bytes = this.#keptBytes;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    // An error came between, and left what was not deleted.
    await this.forgetTheRest();
    await this.#file.close();
    if (this.#keptBytes === 0) await rm(this.#path);
  }
}
