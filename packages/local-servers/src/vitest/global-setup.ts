/**
 * vitest's `globalSetup` for every workspace, wired in vitest.shared.ts. Workers ask it for the servers of the run through
 * a local port; they start when the first test asks, so that a run of unit tests alone starts nothing.
 */
import { once } from "node:events";
import { type AddressInfo, createServer } from "node:net";
import type { TestProject } from "vitest/node";
import { postgresVersion } from "../postgres/database.ts";
import { type PostgresResult, startPostgres } from "../postgres/start.ts";
import type { RabbitMq } from "../rabbitmq/broker.ts";
import { startRabbitMq } from "../rabbitmq/start.ts";
import type { SharedServers } from "./shared-servers.ts";

interface Door {
  port: number;
  close(): Promise<void>;
}

// Each workspace of a run loads this file anew, in one process: they share the door through the process
const shared = globalThis as { localServersDoor?: Promise<Door> | undefined };

export default async function setup(project: TestProject): Promise<() => Promise<void>> {
  shared.localServersDoor ??= openDoor();
  const { port } = await shared.localServersDoor;
  project.provide("localServersPort", port);
  return async () => {
    const door = shared.localServersDoor;
    shared.localServersDoor = undefined;
    await (await door)?.close();
  };
}

async function openDoor(): Promise<Door> {
  let starting: Promise<Running> | undefined;
  const server = createServer((socket) => {
    socket.on("error", () => {});
    starting ??= startServers();
    void starting
      .then(describe, (error: unknown) => ({ error: error instanceof Error ? error.message : String(error) }))
      .then((answer) => socket.end(JSON.stringify(answer)));
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  return {
    port: (server.address() as AddressInfo).port,
    async close() {
      server.close();
      const running = await starting?.catch(() => undefined);
      await Promise.all([running?.broker.close(), running?.postgres.server?.close()]);
    },
  };
}

interface Running {
  broker: RabbitMq;
  postgres: PostgresResult;
}

/** Both at once; when one fails, the other is not left running. */
async function startServers(): Promise<Running> {
  const [broker, postgres] = await Promise.allSettled([startRabbitMq({ log }), startPostgres({ log })]);
  if (broker.status === "fulfilled" && postgres.status === "fulfilled") {
    const { server } = postgres.value;
    const queues = process.env["DEFAULT_QUEUE_TYPE"] ?? "classic";
    log(`Met: RabbitMQ ${broker.value.version} (${broker.value.source}), ${queues} queues by default`);
    if (server !== undefined) log(`Met: PostgreSQL ${await postgresVersion(server.url)} (${server.source})`);
    return { broker: broker.value, postgres: postgres.value };
  }
  if (broker.status === "fulfilled") await broker.value.close();
  if (postgres.status === "fulfilled") await postgres.value.server?.close();
  throw broker.status === "rejected" ? broker.reason : postgres.status === "rejected" ? postgres.reason : undefined;
}

function log(line: string): void {
  process.stderr.write(`[local-servers] ${line}\n`);
}

function describe({ broker, postgres }: Running): SharedServers {
  const { url, managementUrl, source, version, isOwned } = broker;
  return {
    broker: { url, managementUrl, source, version, isOwned },
    postgres: { url: postgres.server?.url, reason: postgres.reason },
  };
}
