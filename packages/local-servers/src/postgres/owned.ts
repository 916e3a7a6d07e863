import type { SmallDisk } from "../faults/small-disk.ts";
import { retryUntil } from "../processes/retry-until.ts";
import type { ServerEngine } from "../processes/server-engine.ts";
import { createDatabase, type Database, query } from "./database.ts";
import type { Postgres, PostgresSource } from "./server.ts";

export class OwnedPostgres implements Postgres {
  readonly url: string;
  readonly source: PostgresSource;
  readonly isOwned = true;
  readonly disk: SmallDisk | undefined;
  readonly #engine: ServerEngine;
  #isClosed = false;

  static async start(
    engine: ServerEngine,
    url: string,
    source: PostgresSource,
    disk?: SmallDisk,
  ): Promise<OwnedPostgres> {
    const server = new OwnedPostgres(engine, url, source, disk);
    try {
      await server.start();
      return server;
    } catch (error) {
      await server.close();
      throw error;
    }
  }

  private constructor(engine: ServerEngine, url: string, source: PostgresSource, disk: SmallDisk | undefined) {
    this.disk = disk;
    this.url = url;
    this.source = source;
    this.#engine = engine;
  }

  async start(): Promise<void> {
    await retryUntil("PostgreSQL accepts connections", () => this.#startOnce(), {
      timeoutMs: 60_000,
      giveUp: async () => (this.#isClosed ? "it was closed" : undefined),
    }).catch(async (error: unknown) => {
      throw new Error(
        `PostgreSQL did not accept connections within 60 s of its start. Its last lines:\n${await this.#engine.lastOutput()}`,
        {
          cause: error,
        },
      );
    });
  }

  /** After kill -9 a new server exits while children of the killed one hold its shared memory: then it is started again. */
  async #startOnce(): Promise<void> {
    if (!(await this.#engine.isRunning())) await this.#engine.start();
    await query(this.url, "SELECT 1");
  }

  async stop(): Promise<void> {
    if (await this.#engine.isRunning()) await this.#engine.stop();
  }

  async restart(): Promise<void> {
    await this.stop();
    await this.start();
  }

  async kill(): Promise<void> {
    if (await this.#engine.isRunning()) await this.#engine.kill();
  }

  createDatabase(): Promise<Database> {
    return createDatabase(this.url);
  }

  async close(): Promise<void> {
    if (this.#isClosed) return;
    this.#isClosed = true;
    await this.#engine.remove();
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }
}
