import { randomBytes } from "node:crypto";
import { Client } from "pg";
import { freePorts } from "./free-ports.ts";
import { createPostgresCluster, findPostgres } from "./postgres-machine.ts";
import { retryUntil } from "./retry-until.ts";
import type { ServerEngine } from "./server-engine.ts";
import { canMountDisks, type SmallDisk } from "./small-disk.ts";

/** The one that `DATABASE_URL` names, a container, or the PostgreSQL installed on this machine as a private cluster. */
export type PostgresSource = "named" | "container" | "machine";

export const postgresSources: readonly PostgresSource[] = ["named", "container", "machine"];

const postgresImage = "postgres:17";

export interface Postgres extends AsyncDisposable {
  /** `postgres://user:password@host:port/postgres`; the same throughout */
  readonly url: string;
  readonly source: PostgresSource;
  readonly isOwned: boolean;
  /** What its data is on, when `diskBytes` was asked for and could be had */
  readonly disk: SmallDisk | undefined;
  /** A new, empty database. */
  createDatabase(): Promise<Database>;
  start(): Promise<void>;
  stop(): Promise<void>;
  restart(): Promise<void>;
  /** `kill -9`: it stays down until `start()`. */
  kill(): Promise<void>;
  /** Ends it at once and removes every trace; a named one stays as it is. */
  close(): Promise<void>;
}

export interface Database extends AsyncDisposable {
  readonly url: string;
  /** Drops it; its clients are thrown out. */
  close(): Promise<void>;
}

export interface StartPostgresOptions {
  /** Where to look, in this order. @default all three, as `postgresSources` has them */
  from?: readonly PostgresSource[];
  /** Told of each step that takes long. @default nobody */
  log?: (line: string) => void;
  /** Where `DATABASE_URL` and `POSTGRES_FROM` are read. @default process.env */
  env?: NodeJS.ProcessEnv;
  /** Puts a private cluster on a disk of its own of that size, where this machine lets us: Linux, as root. @default the usual disk */
  diskBytes?: number;
}

/** Either a server or why there is none: tests that need one are then skipped with that reason. */
export type PostgresResult = { server: Postgres; reason: undefined } | { server: undefined; reason: string };

/**
 * Gets a real PostgreSQL: the first that can be had. `POSTGRES_FROM=container` (or another source) insists on one.
 * @throws Error when the one that `DATABASE_URL` names does not answer, or when what POSTGRES_FROM insists on is not to be had
 */
export async function startPostgres(options: StartPostgresOptions = {}): Promise<PostgresResult> {
  const { log = () => {}, env = process.env } = options;
  const wanted = sourceFromEnvironment(env);
  const sources = wanted === undefined ? (options.from ?? postgresSources) : [wanted];
  const reasons: string[] = [];
  for (const source of sources) {
    try {
      const result = await ways[source](env, log, options.diskBytes);
      if (typeof result !== "string") return { server: result, reason: undefined };
      reasons.push(result);
    } catch (error) {
      if (source === "named") throw error;
      const reason = error instanceof Error ? error.message : String(error);
      log(`PostgreSQL from ${source} failed: ${reason}`);
      reasons.push(reason);
    }
  }
  const reason = `needs PostgreSQL: set DATABASE_URL, start a Docker engine, or apt-get install postgresql (${reasons.join("; ")})`;
  if (wanted !== undefined) throw new Error(`POSTGRES_FROM=${wanted}: ${reason}`);
  return { server: undefined, reason };
}

function sourceFromEnvironment(env: NodeJS.ProcessEnv): PostgresSource | undefined {
  const wanted = env["POSTGRES_FROM"];
  if (wanted === undefined || wanted === "") return undefined;
  const source = postgresSources.find((name) => name === wanted);
  if (source === undefined)
    throw new Error(`POSTGRES_FROM is "${wanted}", but must be one of ${postgresSources.join(", ")}.`);
  return source;
}

/** Each returns the server, or the reason why there is none to be had this way. */
const ways: Record<
  PostgresSource,
  (env: NodeJS.ProcessEnv, log: (line: string) => void, diskBytes: number | undefined) => Promise<Postgres | string>
> = {
  async named(env, log) {
    const url = env["DATABASE_URL"];
    if (url === undefined || url === "") return "DATABASE_URL is not set";
    const { host } = new URL(url);
    log(`Using the PostgreSQL that DATABASE_URL names, at ${host}`);
    await query(url, "SELECT 1").catch((error: unknown) => {
      throw new Error(
        `The PostgreSQL at ${host}, which DATABASE_URL names, does not answer. Is it running, are the credentials right?`,
        {
          cause: error,
        },
      );
    });
    return namedPostgres(url, host);
  },
  async container(_env, log) {
    const containers = await import("./container.ts");
    const missing = await containers.whyNoContainers();
    if (missing !== undefined) return missing;
    if (!(await containers.hasImage(postgresImage))) log(`Fetching the image ${postgresImage}, this once`);
    log(`Starting PostgreSQL in a container (${postgresImage})`);
    const [port = 0] = await freePorts(1);
    const password = randomBytes(12).toString("hex");
    const engine = await containers.ContainerEngine.create({
      image: postgresImage,
      ports: { 5432: port },
      environment: { POSTGRES_PASSWORD: password },
      startedMessage: /ready to accept connections/,
    });
    return OwnedPostgres.start(engine, `postgres://postgres:${password}@${engine.host}:${port}/postgres`, "container");
  },
  async machine(_env, log, diskBytes) {
    const programs = findPostgres();
    if (programs === undefined) return "PostgreSQL is not installed on this machine";
    log(`Starting a private PostgreSQL cluster on this machine (${programs})`);
    const [port = 0] = await freePorts(1);
    const password = randomBytes(12).toString("hex");
    const engine = await createPostgresCluster(programs, port, password, canMountDisks() ? diskBytes : undefined);
    const url = `postgres://postgres:${password}@127.0.0.1:${port}/postgres`;
    return OwnedPostgres.start(engine, url, "machine", engine.disk);
  },
};

class OwnedPostgres implements Postgres {
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
    await retryUntil("PostgreSQL's start", () => this.#startOnce(), {
      timeoutMs: 60_000,
      giveUp: async () => (this.#isClosed ? "it was closed meanwhile" : undefined),
    }).catch(async (error: unknown) => {
      throw new Error(`PostgreSQL did not start. Its last lines:\n${await this.#engine.lastOutput()}`, {
        cause: error,
      });
    });
  }

  /** After a kill -9 it ends by itself while children of the killed one still hold its memory: then it is started again. */
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

function namedPostgres(url: string, host: string): Postgres {
  const refuse = (): Promise<never> =>
    Promise.reject(
      new Error(`The PostgreSQL at ${host} is yours (DATABASE_URL): it is used, but not stopped or killed.`),
    );
  return {
    url,
    source: "named",
    isOwned: false,
    disk: undefined,
    createDatabase: () => createDatabase(url),
    start: refuse,
    stop: refuse,
    restart: refuse,
    kill: refuse,
    close: async () => {},
    [Symbol.asyncDispose]: async () => {},
  };
}

/** @param serverUrl of any database of the server, with a user that may create databases */
export async function createDatabase(serverUrl: string): Promise<Database> {
  const name = `test_${randomBytes(6).toString("hex")}`;
  await query(serverUrl, `CREATE DATABASE ${name}`);
  const url = new URL(serverUrl);
  url.pathname = `/${name}`;
  const close = async (): Promise<void> =>
    void (await query(serverUrl, `DROP DATABASE IF EXISTS ${name} WITH (FORCE)`));
  return { url: url.href, close, [Symbol.asyncDispose]: close };
}

/** @returns what the server says of itself, such as "17.2" */
export async function postgresVersion(url: string): Promise<string> {
  const [row] = await query(url, "SHOW server_version");
  return String(row?.["server_version"]).split(" ")[0] ?? "";
}

async function query(url: string, statement: string): Promise<Record<string, unknown>[]> {
  const client = new Client({ connectionString: url, connectionTimeoutMillis: 10_000 });
  client.on("error", () => {});
  await client.connect();
  try {
    return (await client.query(statement)).rows;
  } finally {
    await client.end();
  }
}
