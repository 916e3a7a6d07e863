import { randomBytes } from "node:crypto";
import { canMountDisks } from "../faults/small-disk.ts";
import { freePorts } from "../processes/free-ports.ts";
import { createDatabase, query } from "./database.ts";
import { createPostgresCluster, findPostgres } from "./machine.ts";
import { OwnedPostgres } from "./owned.ts";
import { type Postgres, type PostgresSource, postgresSources } from "./server.ts";

const postgresImage = "postgres:17";

export interface StartPostgresOptions {
  /** The sources to try, in this order. @default `postgresSources` */
  from?: readonly PostgresSource[];
  /** Called with a line before each step that takes long. @default no log */
  log?: (line: string) => void;
  /** The environment with `DATABASE_URL` and `POSTGRES_FROM`. @default process.env */
  env?: NodeJS.ProcessEnv;
  /** Puts a private cluster on a small disk of that size. Only as root on Linux, else ignored. @default the usual disk */
  diskBytes?: number;
}

/** Either a server, or the reason why there is none; tests that need one are skipped with this reason. */
export type PostgresResult = { server: Postgres; reason: undefined } | { server: undefined; reason: string };

/**
 * Starts a real PostgreSQL, or uses a named one: the first source that works. `POSTGRES_FROM=container` allows this source only.
 * @throws Error when the server of `DATABASE_URL` does not answer, or when the source of `POSTGRES_FROM` does not work
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

/** Each returns a server, or the reason why this source has none. */
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
        `The PostgreSQL at ${host} (DATABASE_URL) does not answer. Check that it runs and that the credentials are correct.`,
        {
          cause: error,
        },
      );
    });
    return namedPostgres(url, host);
  },
  async container(_env, log) {
    const containers = await import("../processes/container.ts");
    const missing = await containers.whyNoContainers();
    if (missing !== undefined) return missing;
    if (!(await containers.hasImage(postgresImage))) log(`Downloading the image ${postgresImage}; this happens once`);
    log(`Starting PostgreSQL in a container (${postgresImage})`);
    const [port = 0] = await freePorts(1);
    const password = randomBytes(12).toString("hex");
    const engine = await containers.ContainerEngine.create({
      image: postgresImage,
      ports: { 5432: port },
      environment: { POSTGRES_PASSWORD: password },
      // A killed server loses nothing without fsync; only a machine that loses its power does
      command: ["postgres", "-c", "fsync=off", "-c", "full_page_writes=off"],
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

function namedPostgres(url: string, host: string): Postgres {
  const refuse = (): Promise<never> =>
    Promise.reject(
      new Error(
        `The PostgreSQL at ${host} (DATABASE_URL) is not owned by this process. It can be used, but not started, stopped or killed.`,
      ),
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
