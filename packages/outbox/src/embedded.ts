import { existsSync } from "node:fs";
import { mkdir, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { PGlite } from "@electric-sql/pglite";
import { PGliteDialect } from "kysely";
import type { Connection, Engine } from "./connection.ts";
import { lockFolder } from "./folder-lock.ts";
import { asText } from "./types.ts";

/** PGlite, a PostgreSQL inside this process, in a folder or in memory. It has one connection, which all users share. */
export class EmbeddedEngine implements Engine {
  readonly dialect: PGliteDialect;
  readonly #pglite: PGlite;
  readonly #unlock: () => void;

  /** @param dataDir  a folder, which is created if it does not exist, or `memory://` @throws {OpenDatabaseError} if another opener uses the folder */
  static async open(dataDir: string, schema: string): Promise<EmbeddedEngine> {
    const parsers = Object.fromEntries([...asText].map((oid) => [oid, (text: string) => text]));
    if (dataDir === "memory://") return new EmbeddedEngine(await opened({ parsers }, schema), () => {});
    // PGlite does not refuse a second process, and writes would be lost
    const unlock = await lockFolder(dataDir);
    try {
      return new EmbeddedEngine(await openFolder(dataDir, parsers, schema), unlock);
    } catch (error) {
      unlock();
      throw error;
    }
  }

  private constructor(pglite: PGlite, unlock: () => void) {
    this.#pglite = pglite;
    this.#unlock = unlock;
    this.dialect = new PGliteDialect({ pglite });
  }

  async connect(): Promise<Connection> {
    return new EmbeddedConnection(this.#pglite);
  }

  async isReachable(): Promise<boolean> {
    return !this.#pglite.closed;
  }

  async close(): Promise<void> {
    if (!this.#pglite.closed) await this.#pglite.close();
    this.#unlock();
  }
}

type Parsers = Record<number, (text: string) => unknown>;

async function openFolder(dataDir: string, parsers: Parsers, schema: string): Promise<PGlite> {
  const data = join(dataDir, "pgdata");
  const complete = join(dataDir, "complete");
  // A process that was stopped during the creation left an incomplete database, which has no data yet
  if (!existsSync(complete)) await rm(data, { recursive: true, force: true });
  await mkdir(data, { recursive: true });
  const pglite = await opened({ dataDir: data, parsers }, schema);
  await writeFile(complete, "");
  return pglite;
}

async function opened(options: { dataDir?: string; parsers: Parsers }, schema: string): Promise<PGlite> {
  const pglite = await PGlite.create(options);
  await pglite.exec(`set search_path to "${schema}"`);
  return pglite;
}

class EmbeddedConnection implements Connection {
  readonly isShared = true;
  readonly #pglite: PGlite;
  readonly #lost = new AbortController();
  readonly #stops: (() => Promise<unknown>)[] = [];

  constructor(pglite: PGlite) {
    this.#pglite = pglite;
  }

  get lost(): AbortSignal {
    return this.#lost.signal;
  }

  async query<Row>(statement: string, parameters: readonly unknown[] = []): Promise<Row[]> {
    const { rows } = await this.#pglite.query<Row>(statement, [...parameters]);
    return rows;
  }

  async run(script: string): Promise<void> {
    await this.#pglite.exec(script);
  }

  async listen(channel: string, onNotification: () => void): Promise<void> {
    // PGlite's own unlisten does not quote the name
    const stop = this.#pglite.onNotification((name) => {
      if (name === channel) onNotification();
    });
    this.#stops.push(async () => {
      stop();
      await this.#pglite.exec(`unlisten "${channel}"`);
    });
    await this.#pglite.exec(`listen "${channel}"`);
  }

  async close(): Promise<void> {
    this.#lost.abort();
    if (this.#pglite.closed) return;
    for (const stop of this.#stops) await stop();
    await this.#pglite.query("select pg_advisory_unlock_all()");
  }
}
