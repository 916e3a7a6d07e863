/** `test` of vitest, extended: each test gets a virtual host of its own, and what it opens is closed after it. */
import { once } from "node:events";
import { connect } from "node:net";
import { text } from "node:stream/consumers";
import { beforeAll, inject, test as base } from "vitest";
import { type Closeable, closeAll } from "./closing.ts";
import { createDatabase } from "../postgres/database.ts";
import type { RabbitMq, RabbitMqSource, SharedBroker } from "../rabbitmq/broker.ts";
import { startRabbitMq, type StartRabbitMqOptions } from "../rabbitmq/start.ts";
import type { SharedServers } from "./shared-servers.ts";
import { createVirtualHost } from "../rabbitmq/virtual-host.ts";

export { closeAll };

/** Registers what is to be closed after the test, newest first; hands it back. */
export type Cleanup = <T extends Closeable>(opened: T) => T;

let asked: Promise<SharedServers> | undefined;

/** The servers of this run: the first who asks has them started. */
function sharedServers(): Promise<SharedServers> {
  asked ??= askForServers();
  return asked;
}

async function askForServers(): Promise<SharedServers> {
  const socket = connect(inject("localServersPort"), "127.0.0.1");
  await once(socket, "connect");
  const answer: SharedServers | { error: string } = JSON.parse(await text(socket));
  if ("error" in answer) throw new Error(answer.error);
  return answer;
}

// Starting servers is not the first test's time: an image may have to be fetched
beforeAll(async () => {
  await sharedServers();
}, 15 * 60_000);

/** A private broker is of the shared one's kind, so that a run on one version is all of that version. */
const privateSources = {
  container: ["container"],
  machine: ["machine"],
  apt: ["machine"],
  named: ["machine", "container"],
} as const satisfies Record<RabbitMqSource, readonly RabbitMqSource[]>;

/**
 * A broker of one's own, of the shared one's kind.
 * @returns undefined where there need not be one to be had: beside a named broker
 */
export async function privateBroker(
  broker: SharedBroker,
  options: Pick<StartRabbitMqOptions, "tls"> = {},
): Promise<RabbitMq | undefined> {
  const starting = startRabbitMq({ from: privateSources[broker.source], env: {}, ...options });
  return broker.source === "named" ? starting.catch(() => undefined) : starting;
}

/** What a test says that is skipped for want of one. */
export const needsPrivateBroker =
  "needs a broker that may be stopped: a Docker engine, or apt-get install rabbitmq-server";

export const test = base
  .extend("broker", { scope: "worker" }, async () => (await sharedServers()).broker)
  .extend("ownBrokerOfFile", { scope: "file" }, async ({ broker }, { onCleanup }) => {
    const own = await privateBroker(broker);
    if (own !== undefined) onCleanup(() => closeAll([own]));
    return own;
  })
  .extend("ownBroker", async ({ ownBrokerOfFile, skip }) => {
    if (ownBrokerOfFile === undefined) return skip(needsPrivateBroker);
    await ownBrokerOfFile.thaw();
    await ownBrokerOfFile.start();
    await ownBrokerOfFile.clearMemoryAlarm();
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
  // For processes that are started once for a file: their virtual host and their database
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

/** Of the virtual hosts that tests are given, so that a run can be of quorum queues: `DEFAULT_QUEUE_TYPE`. */
function defaultQueueType(): "classic" | "quorum" | undefined {
  const { DEFAULT_QUEUE_TYPE: type } = process.env;
  if (type === undefined || type === "classic" || type === "quorum") return type;
  throw new Error(`DEFAULT_QUEUE_TYPE must be classic or quorum, but is "${type}".`);
}
