import { channel } from "node:diagnostics_channel";
import { setTimeout as sleep } from "node:timers/promises";
import type { Connection } from "./connection.ts";
import type { Database } from "./database.ts";
import type { Logger } from "./logger.ts";

export interface MessageToSend {
  messageId: string;
  topic: string;
  message: unknown;
  /** Aborts when the relay's time to close is over, and when another relay may have taken the message over */
  signal: AbortSignal;
}

export interface RelayOptions {
  /** Resolves when the receiver has it safe; rejects when it has not, or nobody knows: then it is sent again. Must settle. */
  send: (message: MessageToSend) => Promise<unknown>;
  logger: Logger;
  /** Keys at work at once. @default 50 */
  concurrency?: number;
  /** How often to look for what nobody announced, such as what a killed process left. @default 5000 */
  sweepMs?: number;
  /** How long `close` lets messages in hand finish. @default 4000 */
  closeTimeoutMs?: number;
}

export interface Relay extends AsyncDisposable {
  /** Lets messages in hand finish; what is left in the outbox is sent by the next relay. */
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
/** Keys that fail; with more than that, looking for others waits for one of these. */
const mostResting = 1_000;
const batchSize = 100;

/**
 * Sends what transactions have added to the outbox, also what other processes added or a killed one left. Any number may run on one
 * PostgreSQL. A key is one relay's at a time, by a lock on the relay's connection: it ends with the process, or when the connection
 * breaks. A message is sent, and when that has resolved its row is deleted: so it is sent at least once.
 * One that fails is tried again after 0.2 s, 0.4 s … 30 s; those of other keys go on.
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
  /** Keys that are locked by this relay */
  readonly #busy = new Map<string, Promise<void>>();
  /** Those of them that nothing is done with any more */
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
    // With nothing in hand there is nothing to wait for, least of all on a dead link
    const patienceMs = this.#busy.size === 0 ? 0 : this.#options.closeTimeoutMs;
    const tooLate = setTimeout(() => this.#outOfTime.abort(), patienceMs);
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
        // What is in hand still was begun on this connection
        await Promise.all(this.#busy.values());
        this.#busy.clear();
        this.#done.length = 0;
        await connection?.close().catch(() => {});
      }
    }
  }

  async #prepare(connection: Connection): Promise<void> {
    // A deletion that a crash of the server undoes means that a message is sent twice: no reason to wait for the disk.
    // On a shared connection it would hold for all transactions, and kill -9 would take them back.
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
      await this.#look(connection, [...resting.keys()]);
      const timer = setTimeout(() => this.#wake(), Math.min(this.#options.sweepMs, ...resting.values()));
      await this.#alarm.promise;
      clearTimeout(timer);
      // Many keys that end or begin within a moment are one look
      if (this.#busy.size > 0) await sleep(5);
    }
    await Promise.all(this.#busy.values());
  }

  /** The keys that are not to be tried yet, and for how many milliseconds. */
  #restingKeys(): Map<string, number> {
    const now = performance.now();
    const left = [...this.#resting].map(([key, { until }]) => [key, until - now] as const);
    // Long over and not tried again: another relay has sent it
    for (const [key, ms] of left) if (ms < -2 * longestRestMs) this.#resting.delete(key);
    return new Map(left.filter(([, ms]) => ms > 0));
  }

  /** Takes keys that have something to send and are nobody's. */
  async #look(connection: Connection, resting: readonly string[]): Promise<void> {
    const elsewhere: string[] = [];
    if (resting.length >= mostResting) return;
    for (;;) {
      const free = this.#options.concurrency - this.#busy.size;
      if (free <= 0) return;
      const found = await findKeys(connection, [...this.#busy.keys(), ...resting, ...elsewhere], free);
      const ours = found.filter(({ claimed }) => claimed).map(({ key }) => key);
      if (ours.length > 0) await this.#take(connection, ours);
      elsewhere.push(...found.filter(({ claimed }) => !claimed).map(({ key }) => key));
      // Others hold what was found first: there may be more behind it
      if (found.length === ours.length) return;
    }
  }

  async #take(connection: Connection, keys: string[]): Promise<void> {
    // Only now: before the lock was ours, another relay may have sent them
    const rows = Map.groupBy(await readRows(connection, keys), ({ key }) => key);
    for (const key of keys) {
      const done = this.#sendInOrder(connection, rows.get(key) ?? [])
        // The connection is lost, and its locks with it
        .catch(() => connection.close())
        .finally(() => {
          this.#done.push(key);
          this.#wake();
        });
      this.#busy.set(key, done);
    }
  }

  /** Lets go of keys that are done with, all at once. What was added to them meanwhile is found by the look that follows. */
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

/** The keys of the oldest rows, except those named, and whether each is now ours. */
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

/** At most `batchSize`: those of a key that are left out come at the next look. */
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

/** An error's text may quote a message. */
function codeOf(error: unknown): string {
  if (!(error instanceof Error)) return "not an Error";
  return "code" in error && typeof error.code === "string" ? error.code : error.name;
}
