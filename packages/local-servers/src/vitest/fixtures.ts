/**
 * vitest's `test`, extended: each test gets its own virtual host, and its resources are closed after it.
 * @example
 * test("publishes", async ({ vhost, cleanup }) => {
 *   const amqp = cleanup(await connect(vhost.url, options));
 * });
 */
import { beforeAll, test as base } from "vitest";
import { createDatabase } from "../postgres/database.ts";
import type { RabbitMq, RabbitMqSource, SharedBroker } from "../rabbitmq/broker.ts";
import { startRabbitMq, type StartRabbitMqOptions } from "../rabbitmq/start.ts";
import { createVirtualHost } from "../rabbitmq/virtual-host.ts";
import { type Closeable, closeAll } from "../processes/closing.ts";
import { createDataFolder } from "./data-folder.ts";
import { leaseBroker } from "./pooled-broker.ts";
import { ask, type SharedServers } from "./run-api.ts";

export { closeAll, createDataFolder };

/** Registers a resource that is closed after the test, newest first. @returns the resource */
export type Cleanup = <T extends Closeable>(opened: T) => T;

let servers: Promise<SharedServers> | undefined;

/** The servers of this run: the first test that asks starts them. */
function sharedServers(): Promise<SharedServers> {
  servers ??= ask("shared-servers", undefined);
  return servers;
}

// The start of the servers does not count as the first test's time: it may include the download of an image
beforeAll(async () => {
  await sharedServers();
}, 15 * 60_000);

/** Private brokers come from the same source as the shared broker, so that a run uses one version only. */
const privateSources = {
  container: ["container"],
  machine: ["machine"],
  apt: ["machine"],
  named: ["machine", "container"],
} as const satisfies Record<RabbitMqSource, readonly RabbitMqSource[]>;

/**
 * Starts a private broker from the same source as the shared one, with options that `ownBroker` does not have.
 * @returns undefined if the shared broker is a named one and this machine can start none
 */
export async function privateBroker(
  broker: SharedBroker,
  options: Pick<StartRabbitMqOptions, "tls"> = {},
): Promise<RabbitMq | undefined> {
  return ifPossible(
    broker,
    startRabbitMq({
      from: privateSources[broker.source],
      env: {},
      ...options,
    }),
  );
}

function ifPossible(broker: SharedBroker, starting: Promise<RabbitMq>): Promise<RabbitMq | undefined> {
  return broker.source === "named" ? starting.catch(() => undefined) : starting;
}

/** The reason why a test is skipped that needs a private broker. */
export const needsPrivateBroker =
  "needs a broker that may be stopped: a Docker engine, or apt-get install rabbitmq-server";

export const test = base
  .extend("broker", { scope: "worker" }, async () => (await sharedServers()).broker)
  .extend("ownBrokerOfFile", { scope: "file" }, async ({ broker }, { onCleanup }) => {
    const own = await ifPossible(broker, leaseBroker(privateSources[broker.source]));
    if (own !== undefined) onCleanup(() => closeAll([own]));
    return own;
  })
  .extend("ownBroker", async ({ ownBrokerOfFile, skip }) => {
    if (ownBrokerOfFile === undefined) return skip(needsPrivateBroker);
    await ownBrokerOfFile.thaw();
    await ownBrokerOfFile.start();
    await ownBrokerOfFile.clearMemoryAlarm();
    await ownBrokerOfFile.clearDiskAlarm();
    return ownBrokerOfFile;
  })
  .extend("vhost", async ({ broker }, { onCleanup }) => {
    const vhost = await createVirtualHost(broker, { defaultQueueType: defaultQueueType() });
    onCleanup(() => closeAll([vhost]));
    return vhost;
  })
  .extend("database", async ({ skip }, { onCleanup }) => {
    const { url, reason } = (await sharedServers()).postgres;
    if (url === undefined) return skip(reason);
    const database = await createDatabase(url);
    onCleanup(() => closeAll([database]));
    return database;
  })
  // The virtual host and the database of processes that are started once per file
  .extend("vhostOfFile", { scope: "file" }, async ({ broker }, { onCleanup }) => {
    const vhost = await createVirtualHost(broker, { defaultQueueType: defaultQueueType() });
    onCleanup(() => closeAll([vhost]));
    return vhost;
  })
  // oxlint-disable-next-line no-empty-pattern -- vitest reads the parameters, and needs a pattern
  .extend("databaseOfFileOrReason", { scope: "file" }, async ({}, { onCleanup }) => {
    const { url, reason } = (await sharedServers()).postgres;
    if (url === undefined) return { reason };
    const database = await createDatabase(url);
    onCleanup(() => closeAll([database]));
    return { url: database.url };
  })
  .extend("databaseOfFile", ({ databaseOfFileOrReason, skip }) => {
    const { url, reason } = databaseOfFileOrReason;
    return url === undefined ? skip(reason) : { url };
  })
  // oxlint-disable-next-line no-empty-pattern -- vitest reads the parameters, and needs a pattern
  .extend("dataFolder", async ({}, { onCleanup }) => {
    const cleanup = closingLater(onCleanup);
    return async (subfolder?: string): Promise<string> => cleanup(await createDataFolder(subfolder)).path;
  })
  // oxlint-disable-next-line no-empty-pattern -- vitest reads the parameters, and needs a pattern
  .extend("cleanupOfFile", { scope: "file" }, async ({}, { onCleanup }): Promise<Cleanup> => closingLater(onCleanup))
  // oxlint-disable-next-line no-empty-pattern -- vitest reads the parameters, and needs a pattern
  .extend("cleanup", async ({}, { onCleanup }): Promise<Cleanup> => closingLater(onCleanup));

function closingLater(onCleanup: (close: () => Promise<void>) => void): Cleanup {
  const opened: Closeable[] = [];
  onCleanup(() => closeAll(opened));
  return (one) => {
    opened.push(one);
    return one;
  };
}

/** The queue type of the tests' virtual hosts: `DEFAULT_QUEUE_TYPE`. */
function defaultQueueType(): "classic" | "quorum" | undefined {
  const { DEFAULT_QUEUE_TYPE: type } = process.env;
  if (type === undefined || type === "classic" || type === "quorum") return type;
  throw new Error(`DEFAULT_QUEUE_TYPE must be classic or quorum, but is "${type}".`);
}
