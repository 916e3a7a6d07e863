import { once } from "node:events";
import { setTimeout as sleep } from "node:timers/promises";
import { PostgresDialect } from "kysely";
import { Client, type ClientConfig, Pool, types } from "pg";
import type { Connection, Engine } from "./connection.ts";
import { OpenDatabaseError } from "./errors.ts";
import { asText } from "./types.ts";

/** A PostgreSQL: a pool for Kysely, and single connections outside of it. */
export class PostgresEngine implements Engine {
  readonly dialect: PostgresDialect;
  readonly #config: ClientConfig;
  readonly #pool: Pool;
  #probe: Promise<boolean> | undefined;
  #closed: Promise<void> | undefined;

  constructor(url: string, schema: string) {
    this.#config = {
      connectionString: withSessionSettings(url, schema),
      application_name: schema,
      connectionTimeoutMillis: 5_000,
      keepAlive: true,
      keepAliveInitialDelayMillis: 10_000,
      types: {
        getTypeParser: (oid, format) => (asText.has(oid) ? (text: string) => text : types.getTypeParser(oid, format)),
      },
    };
    this.#pool = new Pool({ ...this.#config, max: 10 });
    // A lost connection rejects the statement that uses it; an idle one needs no report
    this.#pool.on("error", () => {});
    this.#pool.on("connect", (client) => client.on("error", () => {}));
    this.dialect = new PostgresDialect({ pool: this.#pool });
  }

  async connect(signal?: AbortSignal): Promise<Connection> {
    return PostgresConnection.open(new Client({ ...this.#config, query_timeout: 15_000 }), signal);
  }

  /** Opens a connection without a time limit for statements: migrations may take long. */
  async connectWithoutQueryTimeout(signal: AbortSignal | undefined): Promise<Connection> {
    return PostgresConnection.open(new Client(this.#config), signal);
  }

  isReachable(): Promise<boolean> {
    this.#probe ??= this.#ask().finally(() => {
      this.#probe = undefined;
    });
    return this.#probe;
  }

  async #ask(): Promise<boolean> {
    const answer = this.#pool.query("select 1").then(
      () => true,
      () => false,
    );
    return Promise.race([answer, sleep(1_000, false, { ref: false })]);
  }

  /** Waits for statements in flight, at most two seconds. */
  close(): Promise<void> {
    this.#closed ??= Promise.race([this.#pool.end(), sleep(2_000, undefined, { ref: false })]);
    return this.#closed;
  }
}

/** The server enforces these, so that the locks of a vanished or frozen client are released within a minute. */
const sessionSettings = [
  "tcp_keepalives_idle=10",
  "tcp_keepalives_interval=5",
  "tcp_keepalives_count=3",
  "idle_in_transaction_session_timeout=60000",
];

function withSessionSettings(text: string, schema: string): string {
  const url = new URL(text);
  const settings = [...sessionSettings, `search_path="${schema}"`].map((setting) => `-c ${setting}`);
  url.searchParams.set("options", [url.searchParams.get("options") ?? "", ...settings].join(" ").trim());
  return url.href;
}

class PostgresConnection implements Connection {
  readonly isShared = false;
  readonly #client: Client;
  readonly #lost = new AbortController();
  #turn: Promise<unknown> = Promise.resolve();
  #closed: Promise<void> | undefined;

  static async open(client: Client, signal?: AbortSignal): Promise<Connection> {
    const connection = new PostgresConnection(client);
    const giveUp = (): void => void connection.close();
    signal?.throwIfAborted();
    signal?.addEventListener("abort", giveUp);
    connection.lost.addEventListener("abort", () => signal?.removeEventListener("abort", giveUp));
    try {
      await Promise.race([client.connect(), whenAborted(connection.lost)]);
      return connection;
    } catch (error) {
      // A connection that failed half-way, for instance at the password, would stay open
      await connection.close();
      throw error;
    }
  }

  private constructor(client: Client) {
    this.#client = client;
    const onLost = (): void => this.#lost.abort(lost());
    client.on("error", onLost);
    client.on("end", onLost);
  }

  get lost(): AbortSignal {
    return this.#lost.signal;
  }

  async query<Row>(statement: string, parameters: readonly unknown[] = []): Promise<Row[]> {
    const { rows } = await this.#inTurn(() => this.#client.query<Row & object>(statement, [...parameters]));
    return rows;
  }

  async run(script: string): Promise<void> {
    await this.#inTurn(() => this.#client.query(script));
  }

  /** Runs one statement at a time, as pg requires. */
  #inTurn<T>(work: () => Promise<T>): Promise<T> {
    const result = this.#turn.then(work);
    this.#turn = result.catch(() => {});
    return result;
  }

  async listen(channel: string, onNotification: () => void): Promise<void> {
    this.#client.on("notification", onNotification);
    await this.run(`listen ${this.#client.escapeIdentifier(channel)}`);
  }

  /** Closes the connection; waits for the server at most a second. */
  close(): Promise<void> {
    this.#lost.abort(lost());
    this.#closed ??= Promise.race([this.#client.end(), sleep(1_000, undefined, { ref: false })]);
    return this.#closed;
  }
}

function lost(): Error {
  return new Error("The connection to PostgreSQL was terminated.");
}

async function whenAborted(signal: AbortSignal): Promise<never> {
  if (!signal.aborted) await once(signal, "abort");
  throw signal.reason;
}

/**
 * @returns why another attempt may succeed, in a few words
 * @throws {OpenDatabaseError} if no attempt can succeed
 */
export function reasonToRetry(error: unknown, url: string): string {
  if (error instanceof OpenDatabaseError) throw error;
  const code = error instanceof Error && "code" in error ? String(error.code) : "";
  const text = error instanceof Error ? error.message : "";
  const { host, pathname } = new URL(url);
  const refusal = refusals[code];
  const where = `PostgreSQL at ${host || "the local socket"}`;
  if (refusal !== undefined) {
    const database = decodeURIComponent(pathname.slice(1));
    throw new OpenDatabaseError("DATABASE_REFUSED", `${where} ${refusal(database)} (${code}).`);
  }
  if (/^(08|57P0[123]|53300)/.test(code)) return `${where} answers ${code}`;
  if (/^E[A-Z_]+$/.test(code) && !code.startsWith("ERR_")) return `${where}: ${code}`;
  if (/terminated|timeout|not queryable/i.test(text)) return `${where} does not answer`;
  if (/SASL|SSL/.test(text) || code !== "") {
    const what = /SASL/.test(text)
      ? "requires a password, and DATABASE_URL has none or a wrong one."
      : "and this client disagree about TLS: correct sslmode in DATABASE_URL.";
    throw new OpenDatabaseError("DATABASE_REFUSED", `${where} ${/SASL|SSL/.test(text) ? what : `refuses (${code}).`}`);
  }
  throw error;
}

const refusals: Readonly<Record<string, (database: string) => string>> = {
  "28P01": () => "refuses the user or password: correct them in DATABASE_URL",
  "28000": () => "refuses the user or this machine: correct DATABASE_URL, or allow it in the server's pg_hba.conf",
  "3D000": (database) => `has no database "${database}": create it, or correct DATABASE_URL`,
  "42501": (database) =>
    `does not allow this user to create the schema: grant create on database "${database}", or create the schema for this user`,
};
