import { setTimeout as sleep } from "node:timers/promises";
import { Kysely, type Transaction } from "kysely";
import type { Connection, Engine } from "./connection.ts";
import { EmbeddedEngine } from "./embedded.ts";
import { OpenDatabaseError } from "./errors.ts";
import type { Logger } from "./logger.ts";
import { migrate } from "./migrate.ts";
import { PostgresEngine, whyNotYet } from "./postgres.ts";
import { asTransaction, refuseStatementsBesideTransaction } from "./transaction.ts";

/** A PostgreSQL, or a folder for the embedded one (`memory://`: none, gone with the process). */
export type DatabaseLocation = { readonly url: string } | { readonly dataDir: string };

export interface OpenDatabaseOptions {
  /** All tables are in it; created when missing. Lower-case letters, digits, `-` and `_`, at most 50 */
  schema: string;
  /** Folder of the service's own `.sql` files. @default none */
  migrations?: URL;
  logger: Logger;
  /** Ends the waiting for a PostgreSQL that is not there yet */
  signal?: AbortSignal;
}

/**
 * Opens the database and brings its schema up to date. A PostgreSQL that does not answer is waited for, with a log line per
 * attempt.
 * @throws {OpenDatabaseError} when it never will: wrong password, unknown database, folder in use, a migration that fails
 * @throws the signal's reason when that aborts
 */
export async function openDatabase<Tables>(
  location: DatabaseLocation,
  { schema, migrations, logger, signal }: OpenDatabaseOptions,
): Promise<Database<Tables>> {
  if (!/^[a-z][a-z0-9_-]{0,49}$/.test(schema)) throw new TypeError(`"${schema}" cannot be the name of a schema.`);
  signal?.throwIfAborted();
  if ("url" in location) {
    if (!URL.canParse(location.url)) throw new OpenDatabaseError("DATABASE_REFUSED", "DATABASE_URL is not a URL.");
    const postgres = new PostgresEngine(location.url, schema);
    try {
      await withPatience(location.url, { logger, signal }, async () => {
        await using connection = closing(await postgres.connectPatiently(signal));
        await migrate(connection, schema, migrations);
      });
    } catch (error) {
      await postgres.close();
      throw error;
    }
    return new Database(postgres);
  }
  const embedded = await EmbeddedEngine.open(location.dataDir, schema);
  try {
    signal?.throwIfAborted();
    await migrate(await embedded.connect(), schema, migrations);
  } catch (error) {
    await embedded.close();
    throw error;
  }
  return new Database(embedded);
}

function closing(connection: Connection): Connection & AsyncDisposable {
  return Object.assign(connection, { [Symbol.asyncDispose]: () => connection.close() });
}

async function withPatience(
  url: string,
  { logger, signal }: { logger: Logger; signal: AbortSignal | undefined },
  attempt: () => Promise<void>,
): Promise<void> {
  for (let delayMs = 250; ; delayMs = Math.min(delayMs * 2, 10_000)) {
    try {
      return await attempt();
    } catch (error) {
      signal?.throwIfAborted();
      const reason = whyNotYet(error, url);
      const retryInMs = Math.round(delayMs * (0.5 + Math.random() / 2));
      logger.warn({ reason, retryInMs }, "waiting for the database");
      await sleep(retryInMs, undefined, { signal }).catch(() => signal?.throwIfAborted());
    }
  }
}

/** An open database, the same to use whichever it is. */
export class Database<Tables> implements AsyncDisposable {
  /** For single statements. Inside `transaction` use what that hands out: a statement here would then be refused */
  readonly kysely: Kysely<Tables>;
  readonly #engine: Engine;
  #isClosed = false;

  constructor(engine: Engine) {
    this.#engine = engine;
    this.kysely = new Kysely({ dialect: engine.dialect, plugins: [refuseStatementsBesideTransaction] });
  }

  /**
   * Commits when `work` resolves, rolls back when it rejects. After the commit, what was added to outbox and inbox is published on the
   * channels `outbox:committed` and `inbox:committed` of `node:diagnostics_channel`.
   */
  async transaction<T>(work: (tx: Transaction<Tables>) => Promise<T>): Promise<T> {
    // The embedded one would wait for ever
    if (this.#isClosed) throw new Error("The database is closed.");
    return asTransaction((inside) =>
      this.kysely.transaction().execute((tx) => inside(() => work(tx.withoutPlugins()))),
    );
  }

  /** Whether it answers, within a second. */
  isReachable(): Promise<boolean> {
    return this.#engine.isReachable();
  }

  /**
   * A connection beside Kysely's, for LISTEN and for locks that live as long as it does.
   * @param signal  closes it, whatever it is at
   * @throws Error when it cannot be had
   */
  connect(signal?: AbortSignal): Promise<Connection> {
    return this.#engine.connect(signal);
  }

  /** Waits for transactions that are open, two seconds at most. */
  async close(): Promise<void> {
    this.#isClosed = true;
    await this.#engine.close();
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }
}
