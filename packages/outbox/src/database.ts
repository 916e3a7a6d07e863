import { setTimeout as sleep } from "node:timers/promises";
import { Kysely, type Transaction } from "kysely";
import type { Connection, Engine } from "./connection.ts";
import { EmbeddedEngine } from "./embedded.ts";
import { OpenDatabaseError } from "./errors.ts";
import type { Logger } from "./logger.ts";
import { migrate } from "./migrate.ts";
import { PostgresEngine, reasonToRetry } from "./postgres.ts";
import { asTransaction, refuseStatementsBesideTransaction } from "./transaction.ts";

/** A PostgreSQL, or the folder of an embedded database (`memory://` stores nothing: the data is lost with the process). */
export type DatabaseLocation = { readonly url: string } | { readonly dataDir: string };

export interface OpenDatabaseOptions {
  /** The schema of all tables; it is created if it does not exist. At most 50 lower-case letters, digits, `-` and `_` */
  schema: string;
  /** The folder of the service's own `.sql` files. @default none */
  migrations?: URL;
  logger: Logger;
  /** Ends the wait for a PostgreSQL that does not answer yet */
  signal?: AbortSignal;
}

/**
 * Opens the database and applies the migrations. Waits for a PostgreSQL that does not answer, with a log line per attempt.
 * @throws {OpenDatabaseError} if waiting is useless: wrong password, unknown database, folder in use, failed migration
 * @throws the reason of `signal` when it aborts
 * @example
 * await using database = await openDatabase<Tables>({ url }, { schema: "scheduling", migrations, logger });
 */
export async function openDatabase<Tables>(
  location: DatabaseLocation,
  { schema, migrations, logger, signal }: OpenDatabaseOptions,
): Promise<Database<Tables>> {
  if (!/^[a-z][a-z0-9_-]{0,49}$/.test(schema)) throw new TypeError(`"${schema}" cannot be the name of a schema.`);
  signal?.throwIfAborted();
  if ("url" in location) {
    if (!URL.canParse(location.url))
      throw new OpenDatabaseError(
        "DATABASE_REFUSED",
        "DATABASE_URL is not a URL. Set it to one like postgres://user:password@host:5432/database.",
      );
    const postgres = new PostgresEngine(location.url, schema);
    try {
      await retryWhileUnavailable(location.url, { logger, signal }, async () => {
        await using connection = closing(await postgres.connectWithoutQueryTimeout(signal));
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

async function retryWhileUnavailable(
  url: string,
  { logger, signal }: { logger: Logger; signal: AbortSignal | undefined },
  attempt: () => Promise<void>,
): Promise<void> {
  for (let delayMs = 250; ; delayMs = Math.min(delayMs * 2, 10_000)) {
    try {
      return await attempt();
    } catch (error) {
      signal?.throwIfAborted();
      const reason = reasonToRetry(error, url);
      const retryInMs = Math.round(delayMs * (0.5 + Math.random() / 2));
      logger.warn({ reason, retryInMs }, "waiting for the database");
      await sleep(retryInMs, undefined, { signal }).catch(() => signal?.throwIfAborted());
    }
  }
}

/** An open database: PostgreSQL and the embedded one are used in the same way. */
export class Database<Tables> implements AsyncDisposable {
  /** For single statements. Inside `transaction` use its parameter: a statement here is then refused */
  readonly kysely: Kysely<Tables>;
  readonly #engine: Engine;
  #isClosed = false;

  constructor(engine: Engine) {
    this.#engine = engine;
    this.kysely = new Kysely({ dialect: engine.dialect, plugins: [refuseStatementsBesideTransaction] });
  }

  /**
   * Runs `work` in a transaction: commits when it resolves, rolls back when it rejects. After the commit, publishes additions to outbox and
   * inbox on the channels `outbox:committed` and `inbox:committed` of `node:diagnostics_channel`.
   * @example
   * await database.transaction(async (tx) => {
   *   await tx.insertInto("patient").values(patient).execute();
   *   await addToOutbox(tx, { topic: "notify.patient.add", key: patient.patientId, message: patient });
   * });
   */
  async transaction<T>(work: (tx: Transaction<Tables>) => Promise<T>): Promise<T> {
    // The embedded database would wait for ever
    if (this.#isClosed) throw new Error("The database is closed.");
    return asTransaction((inside) =>
      this.kysely.transaction().execute((tx) => inside(() => work(tx.withoutPlugins()))),
    );
  }

  /** Whether the database answers within a second. */
  isReachable(): Promise<boolean> {
    return this.#engine.isReachable();
  }

  /**
   * Opens a connection outside of Kysely, for LISTEN and for locks that end with the connection.
   * @param signal  closes the connection at any point
   * @throws Error if the database cannot be reached
   */
  connect(signal?: AbortSignal): Promise<Connection> {
    return this.#engine.connect(signal);
  }

  /** Closes the database; waits for open transactions, at most two seconds. */
  async close(): Promise<void> {
    this.#isClosed = true;
    await this.#engine.close();
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }
}
