import { channel } from "node:diagnostics_channel";
import { setTimeout as sleep } from "node:timers/promises";
import type { Connection } from "./connection.ts";
import type { Database } from "./database.ts";
import type { Logger } from "./logger.ts";

export interface MessageToSend {
  messageId: string;
  topic: string;
  message: unknown;
  /** Aborts when the relay's time to close is over, and when another relay may be sending the message */
  signal: AbortSignal;
}

export interface RelayOptions {
  /** Resolves when the receiver has stored the message; rejects when it has not, or when this is unknown: then it is sent again. Must settle. */
  send: (message: MessageToSend) => Promise<unknown>;
  logger: Logger;
  /** The number of keys that are sent concurrently. @default 50 */
  concurrency?: number;
  /** Milliseconds between queries for rows without a NOTIFY, such as those of a killed process. @default 5000 */
  sweepMs?: number;
  /** How many milliseconds `close` waits for messages in flight. @default 4000 */
  closeTimeoutMs?: number;
}

export interface Relay extends AsyncDisposable {
  /** Waits for messages in flight, then stops. The next relay sends the remaining rows. */
  close(): Promise<void>;
}

interface Row {
  id: string;
  key: string;
  topic: string;
  message_id: string;
  message: unknown;
}

interface Rest {
  failures: number;
  until: number;
}

const sent = channel("outbox:sent");
const shortestRestMs = 200;
const longestRestMs = 30_000;
/** The maximum of keys that wait after a failure; with more, the relay queries for no other key until one of them is due. */
const mostResting = 1_000;
const batchSize = 100;

/**
 * Sends the messages that transactions have added to the outbox, including those of other processes and of killed ones. Any number of
 * relays can run on one PostgreSQL. A lock on the relay's connection gives each key to one relay at a time; it ends with the process or
 * the connection. A row is deleted after `send` has resolved, so a message is sent at least once. A message that fails is repeated after
 * 0.2 s, 0.4 s … 30 s; other keys continue.
 * @example
 * await using relay = startRelay(database, {
 *   send: ({ messageId, message, signal }) => amqp.notify(patientAdded, message, { messageId, signal }),
 *   logger,
 * });
 */
export function startRelay<Tables>(database: Database<Tables>, options: RelayOptions): Relay {
  const relay = new RunningRelay(database, options);
  return { close: () => relay.close(), [Symbol.asyncDispose]: () => relay.close() };
}

class RunningRelay {
  readonly #database: Pick<Database<unknown>, "connect">;
  readonly #options: Required<RelayOptions>;
  readonly #closing = new AbortController();
  readonly #outOfTime = new AbortController();
  /** The keys that this relay has locked */
  readonly #busy = new Map<string, Promise<void>>();
  /** Those of them that are finished and can be unlocked */
  readonly #done: string[] = [];
  readonly #resting = new Map<string, Rest>();
  readonly #running: Promise<void>;
  #alarm = Promise.withResolvers<void>();

  constructor(database: Pick<Database<unknown>, "connect">, options: RelayOptions) {
    this.#database = database;
    this.#options = { concurrency: 50, sweepMs: 5_000, closeTimeoutMs: 4_000, ...options };
    this.#running = this.#run();
  }

  async close(): Promise<void> {
    this.#closing.abort();
    this.#wake();
    // Without messages in flight there is nothing to wait for, even on a dead link
    const waitMs = this.#busy.size === 0 ? 0 : this.#options.closeTimeoutMs;
    const tooLate = setTimeout(() => this.#outOfTime.abort(), waitMs);
    await this.#running;
    clearTimeout(tooLate);
  }

  #wake(): void {
    this.#alarm.resolve();
  }

  async #run(): Promise<void> {
    const { logger } = this.#options;
    for (let failures = 0; !this.#closing.signal.aborted;) {
      let connection: Connection | undefined;
      try {
        connection = await this.#database.connect(this.#outOfTime.signal);
        await this.#prepare(connection);
        failures = 0;
        await this.#work(connection);
      } catch (error) {
        if (this.#closing.signal.aborted) break;
        const retryInMs = restMs((failures += 1));
        logger.warn({ reason: codeOf(error), retryInMs }, "the outbox's relay has lost its database");
        await sleep(retryInMs, undefined, { signal: this.#closing.signal }).catch(() => {});
      } finally {
        // Messages in flight belong to this connection
        await Promise.all(this.#busy.values());
        this.#busy.clear();
        this.#done.length = 0;
        await connection?.close().catch(() => {});
      }
    }
  }

  async #prepare(connection: Connection): Promise<void> {
    // If a crash of the server undoes a deletion, a message is sent twice, which is allowed: so no deletion waits for the disk.
    // On a shared connection the setting would apply to all transactions, and kill -9 would undo them.
    if (!connection.isShared) await connection.run("set synchronous_commit to off");
    const [row] = await connection.query<{ schema: string }>("select current_schema() as schema");
    await connection.listen(`outbox ${row?.schema}`, () => this.#wake());
    connection.lost.addEventListener("abort", () => this.#wake());
  }

  async #work(connection: Connection): Promise<void> {
    while (!this.#closing.signal.aborted) {
      connection.lost.throwIfAborted();
      this.#alarm = Promise.withResolvers();
      await this.#release(connection);
      const resting = this.#restingKeys();
      await this.#lockAndSend(connection, [...resting.keys()]);
      const timer = setTimeout(() => this.#wake(), Math.min(this.#options.sweepMs, ...resting.values()));
      await this.#alarm.promise;
      clearTimeout(timer);
      // One query for many keys that end or begin at about the same time
      if (this.#busy.size > 0) await sleep(5);
    }
    await Promise.all(this.#busy.values());
  }

  /** Returns the keys that still wait after a failure, with the milliseconds that are left. */
  #restingKeys(): Map<string, number> {
    const now = performance.now();
    const left = [...this.#resting].map(([key, { until }]) => [key, until - now] as const);
    // Due for long and not repeated: another relay has sent it
    for (const [key, ms] of left) if (ms < -2 * longestRestMs) this.#resting.delete(key);
    return new Map(left.filter(([, ms]) => ms > 0));
  }

  /** Locks keys that have rows and that no relay has locked, and starts to send them. */
  async #lockAndSend(connection: Connection, resting: readonly string[]): Promise<void> {
    const elsewhere: string[] = [];
    if (resting.length >= mostResting) return;
    for (;;) {
      const free = this.#options.concurrency - this.#busy.size;
      if (free <= 0) return;
      const found = await findKeys(connection, [...this.#busy.keys(), ...resting, ...elsewhere], free);
      const ours = found.filter(({ claimed }) => claimed).map(({ key }) => key);
      if (ours.length > 0) await this.#sendKeys(connection, ours);
      elsewhere.push(...found.filter(({ claimed }) => !claimed).map(({ key }) => key));
      // Other relays have locked the first keys: there may be more behind them
      if (found.length === ours.length) return;
    }
  }

  async #sendKeys(connection: Connection, keys: string[]): Promise<void> {
    // The rows are read after the lock: another relay may have sent some of them before
    const rows = Map.groupBy(await readRows(connection, keys), ({ key }) => key);
    for (const key of keys) {
      const done = this.#sendInOrder(connection, rows.get(key) ?? [])
        // The connection is lost, and so are its locks
        .catch(() => connection.close())
        .finally(() => {
          this.#done.push(key);
          this.#wake();
        });
      this.#busy.set(key, done);
    }
  }

  /** Unlocks the finished keys in one query. The next query finds the rows that were added meanwhile. */
  async #release(connection: Connection): Promise<void> {
    const done = this.#done.splice(0);
    if (done.length === 0) return;
    await unlock(connection, done);
    for (const key of done) this.#busy.delete(key);
  }

  async #sendInOrder(connection: Connection, rows: readonly Row[]): Promise<void> {
    const { send, logger } = this.#options;
    const signal = AbortSignal.any([this.#outOfTime.signal, connection.lost]);
    for (const { id, key, topic, message_id: messageId, message } of rows) {
      if (this.#closing.signal.aborted || connection.lost.aborted) return;
      try {
        await send({ messageId, topic, message, signal });
      } catch (error) {
        if (signal.aborted) return;
        const failures = (this.#resting.get(key)?.failures ?? 0) + 1;
        const retryInMs = restMs(failures);
        this.#resting.set(key, { failures, until: performance.now() + retryInMs });
        logger.warn(
          { topic, messageId, attempt: failures, retryInMs, reason: codeOf(error) },
          "a message was not sent",
        );
        return;
      }
      sent.publish({ messageId, topic });
      await connection.query("delete from outbox where id = $1", [id]);
      this.#resting.delete(key);
    }
  }
}

/** Finds the keys of the oldest rows, without `except`, and tries to lock each. */
async function findKeys(
  connection: Connection,
  except: string[],
  limit: number,
): Promise<{ key: string; claimed: boolean }[]> {
  return connection.query(
    `with oldest as (select key, id from outbox where key <> all($1::text[]) order by id limit $2),
          found as materialized (select key from oldest group by key order by min(id) limit $3)
     select key, pg_try_advisory_lock(hashtextextended('outbox send ' || current_schema() || ' ' || key, 0)) as claimed
     from found`,
    [except, batchSize * 10, limit],
  );
}

/** Reads at most `batchSize` rows; the next query finds the others. */
async function readRows(connection: Connection, keys: string[]): Promise<Row[]> {
  return connection.query(
    "select id, key, topic, message_id, message from outbox where key = any($1::text[]) order by id limit $2",
    [keys, batchSize],
  );
}

async function unlock(connection: Connection, keys: string[]): Promise<void> {
  await connection.query(
    `select pg_advisory_unlock(hashtextextended('outbox send ' || current_schema() || ' ' || key, 0))
     from unnest($1::text[]) as key`,
    [keys],
  );
}

function restMs(failures: number): number {
  const limit = Math.min(shortestRestMs * 2 ** (failures - 1), longestRestMs);
  return Math.round(limit * (0.75 + Math.random() / 4));
}

/** Not the error's text, which may quote a message. */
function codeOf(error: unknown): string {
  if (!(error instanceof Error)) return "not an Error";
  return "code" in error && typeof error.code === "string" ? error.code : error.name;
}
