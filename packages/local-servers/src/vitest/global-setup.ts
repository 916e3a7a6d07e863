/**
 * vitest's `globalSetup` for every workspace, wired in vitest.shared.ts: the main process holds the servers of the run and
 * answers its workers (run-api.ts). Servers start when a test first asks, so that a run of unit tests alone starts none.
 */
import { once } from "node:events";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { json } from "node:stream/consumers";
import { fileURLToPath } from "node:url";
import type { TestProject } from "vitest/node";
import { postgresVersion } from "../postgres/database.ts";
import { startPostgres } from "../postgres/start.ts";
import { startRabbitMq } from "../rabbitmq/start.ts";
import { BrokerPool } from "./broker-pool.ts";
import { createEmbeddedDatabase } from "./embedded-database.ts";
import type { RunApi, SharedServers } from "./run-api.ts";

interface Running {
  port: number;
  close(): Promise<void>;
}

// Each project of a run loads this file anew, in one process: they share the servers through the process
const shared = globalThis as { localServersOfRun?: Promise<Running> | undefined };

export default async function setup(project: TestProject): Promise<() => Promise<void>> {
  // What Node.js has compiled is kept for the next process: a service starts with half the processor time
  process.env["NODE_COMPILE_CACHE"] ??= compileCache;
  shared.localServersOfRun ??= answerWorkers();
  const { port } = await shared.localServersOfRun;
  project.provide("localServersPort", port);
  return async () => {
    const running = shared.localServersOfRun;
    shared.localServersOfRun = undefined;
    await (await running)?.close();
  };
}

const compileCache = fileURLToPath(new URL("../../node_modules/.cache/node-compile-cache", import.meta.url));

type Answers = { [Question in keyof RunApi]: (parameters: RunApi[Question]["asks"]) => Promise<unknown> };

async function answerWorkers(): Promise<Running> {
  const pool = new BrokerPool();
  const opened: AsyncDisposable[] = [pool];
  let servers: Promise<SharedServers> | undefined;
  let database: Promise<{ folder: string }> | undefined;
  const answers: Answers = {
    "shared-servers": () => (servers ??= startSharedServers(opened)),
    "embedded-database": () => (database ??= createTemplate(opened)),
    "lease-broker": (parameters) => pool.lease(parameters),
    "broker-action": (parameters) => pool.act(parameters),
    "release-broker": (parameters) => pool.release(parameters),
  };
  const server = createServer((request, response) => {
    const answer = answers[request.url?.slice(1) as keyof RunApi] as (parameters: unknown) => Promise<unknown>;
    void json(request)
      .then((body) => answer((body as { parameters: unknown }).parameters))
      .then(
        (answer) => ({ answer }),
        (error: unknown) => ({ error: error instanceof Error ? error.message : String(error) }),
      )
      .then((body) => response.end(JSON.stringify(body)));
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  return {
    port: (server.address() as AddressInfo).port,
    async close() {
      server.close();
      server.closeAllConnections();
      await Promise.allSettled([servers, database]);
      await Promise.all(opened.map((one) => one[Symbol.asyncDispose]()));
    },
  };
}

async function createTemplate(opened: AsyncDisposable[]): Promise<{ folder: string }> {
  const folder = await createEmbeddedDatabase();
  opened.push({ [Symbol.asyncDispose]: () => folder.remove() });
  return { folder: folder.path };
}

/** Starts both at the same time; when one fails, the other is stopped with the run. */
async function startSharedServers(opened: AsyncDisposable[]): Promise<SharedServers> {
  const starting = [
    startRabbitMq({ log }).then((broker) => {
      opened.push(broker);
      return broker;
    }),
    startPostgres({ log }).then((result) => {
      if (result.server !== undefined) opened.push(result.server);
      return result;
    }),
  ] as const;
  await Promise.allSettled(starting);
  const [broker, postgres] = await Promise.all(starting);
  const queues = process.env["DEFAULT_QUEUE_TYPE"] ?? "classic";
  log(`Met: RabbitMQ ${broker.version} (${broker.source}), ${queues} queues by default`);
  if (postgres.server !== undefined) {
    log(`Met: PostgreSQL ${await postgresVersion(postgres.server.url)} (${postgres.server.source})`);
  }
  const { url, managementUrl, source, version, isOwned } = broker;
  return {
    broker: { url, managementUrl, source, version, isOwned },
    postgres: { url: postgres.server?.url, reason: postgres.reason },
  };
}

function log(line: string): void {
  process.stderr.write(`[local-servers] ${line}\n`);
}
