import type { Channel } from "amqplib";
import { replyCodeOf } from "./channel.ts";
import type { Connection } from "./connection.ts";
import type { Broadcast, Notification, Operation } from "../contract.ts";
import { TopologyError } from "../errors.ts";
import { deadQueue, delayQueue, failedExchange, subscriptionQueue } from "../names.ts";
import { messageOf } from "../telemetry/log.ts";

/**
 * What stands on the broker, derived from contracts. Who declares what is in docs/: least privilege allows exactly that.
 * Queue types, length and delivery limits are left to policies and the virtual host's default queue type.
 * Each declaration has a channel of its own: a refusal closes the channel it came on.
 */

/** A request queue that nobody consumes goes after this long. */
const requestQueueExpiresMs = 60_000;
const bindAttempts = 5;
const listenerQueueBytes = 16 * 1024 * 1024;

export async function declareBroadcastExchange(connection: Connection, { name }: Broadcast): Promise<void> {
  await declare(connection, `exchange "${name}"`, "fanout, transient, auto-delete", (channel) =>
    channel.assertExchange(name, "fanout", { durable: false, autoDelete: true }),
  );
}

/**
 * Binds a queue that keeps nothing, so that the exchange stands as long as its sender is connected instead of going with its last
 * listener. When one listener leaves while another comes, RabbitMQ 4.3 may bind the newcomer to an exchange that it is just deleting
 * (measured on 4.3.6, in one such moment of five): it then routes nothing, and whoever declares it loses the connection, with 541.
 * @param holding  the queue that did so before, if it still stands
 * @returns the queue that does
 */
export async function holdBroadcastExchange(
  connection: Connection,
  { name }: Broadcast,
  holding: string | undefined,
): Promise<string> {
  const hold = async (channel: Channel): Promise<string> => {
    const options = { exclusive: true, durable: false, arguments: { "x-max-length": 0 } };
    const queue = holding ?? (await channel.assertQueue("", options)).queue;
    await channel.bindQueue(queue, name, "");
    return queue;
  };
  return declare(connection, `a queue that holds exchange "${name}"`, "exclusive, x-max-length 0", hold);
}

/** @returns the name of a new, bound queue of one listener's own */
export async function declareListener(
  connection: Connection,
  broadcast: Broadcast,
  maxBuffered: number,
): Promise<string> {
  const queue = await declare(connection, "a listener's queue", "exclusive, auto-delete", async (channel) => {
    const limits = { "x-max-length": maxBuffered, "x-max-length-bytes": listenerQueueBytes };
    const options = { exclusive: true, durable: false, autoDelete: true, arguments: limits };
    return (await channel.assertQueue("", options)).queue;
  });
  try {
    await bindListener(connection, broadcast, queue);
    return queue;
  } catch (error) {
    // Without a consumer it would stay as long as the connection does.
    await connection.withChannel((channel) => channel.deleteQueue(queue)).catch(() => undefined);
    throw error;
  }
}

/** Binds the queue, again if need be, to an exchange that may have come anew. @throws when the queue is gone */
export async function bindListener(connection: Connection, broadcast: Broadcast, queue: string): Promise<void> {
  const { name } = broadcast;
  for (let attempt = 1; ; attempt++) {
    await declareBroadcastExchange(connection, broadcast);
    try {
      await bind(connection, name, queue, "");
      // The exchange may have gone with its last listener before it was bound, or even while it was.
      await connection.withChannel((channel) => channel.checkExchange(name));
      return;
    } catch (error) {
      if (replyCodeOf(error) !== 404 || attempt === bindAttempts) throw error;
    }
  }
}

/** The notifier's part: the exchange, and the queue of everybody who subscribes, so that nothing is lost before a subscriber's first run. */
export async function declareNotification(
  connection: Connection,
  notification: Notification,
  subscribers: readonly string[],
): Promise<void> {
  const { name } = notification;
  await declare(connection, `exchange "${name}"`, "fanout, durable", (channel) =>
    channel.assertExchange(name, "fanout", { durable: true }),
  );
  for (const service of subscribers) {
    const queue = subscriptionQueue(notification, service);
    await declareDurableQueue(connection, queue);
    await bind(connection, name, queue, "");
  }
}

/** The subscriber's part: its queue, and where its failures go. Binding to the notifier's exchange is `bindSubscription`. */
export async function declareSubscription(
  connection: Connection,
  queue: string,
  delaysMs: readonly number[],
): Promise<void> {
  const failed = failedExchange(queue);
  await declareDurableQueue(connection, queue);
  await declare(connection, `exchange "${failed}"`, "direct, durable", (channel) =>
    channel.assertExchange(failed, "direct", { durable: true }),
  );
  await declareDurableQueue(connection, deadQueue(queue));
  await bind(connection, failed, queue, "again");
  await bind(connection, failed, deadQueue(queue), deadQueue(queue));
  for (const delayMs of new Set(delaysMs)) {
    const delay = delayQueue(queue, delayMs);
    // Only the kit declares these, so they may carry arguments: a quorum queue that dead-letters at least once loses nothing
    // when the broker dies in mid-hop, a classic one does (rabbitmq.com/docs/quorum-queues#dead-lettering).
    await declare(connection, `queue "${delay}"`, `quorum, x-message-ttl ${delayMs}`, (channel) =>
      channel.assertQueue(delay, {
        durable: true,
        arguments: {
          "x-queue-type": "quorum",
          "x-message-ttl": delayMs,
          "x-dead-letter-exchange": failed,
          "x-dead-letter-routing-key": "again",
          "x-dead-letter-strategy": "at-least-once",
          "x-overflow": "reject-publish",
        },
      }),
    );
    await bind(connection, failed, delay, delay);
  }
}

/** The broker tells a queue's type only by refusing to declare one of another, and logs that: asked where it matters only. */
export async function isQuorumQueue(connection: Connection, queue: string): Promise<boolean> {
  const asQuorum = { durable: true, arguments: { "x-queue-type": "quorum" } };
  try {
    await connection.withChannel((channel) => channel.assertQueue(queue, asQuorum));
    return true;
  } catch (error) {
    if (replyCodeOf(error) === 406) return false;
    throw error;
  }
}

/** @returns whether the notifier's exchange exists, and with it the binding */
export async function bindSubscription(
  connection: Connection,
  { name }: Notification,
  queue: string,
): Promise<boolean> {
  try {
    await connection.withChannel((channel) => channel.checkExchange(name));
  } catch (error) {
    if (replyCodeOf(error) === 404) return false;
    throw error;
  }
  await bind(connection, name, queue, "");
  return true;
}

export async function declareApiExchange(connection: Connection, { exchange }: Operation): Promise<void> {
  await declare(connection, `exchange "${exchange}"`, "direct, transient, auto-delete", (channel) =>
    channel.assertExchange(exchange, "direct", { durable: false, autoDelete: true }),
  );
}

/** @returns the name of a new queue for one requester's replies */
export async function declareReplyQueue(connection: Connection): Promise<string> {
  return declare(connection, "a reply queue", "exclusive, auto-delete", async (channel) => {
    const { queue } = await channel.assertQueue("", { exclusive: true, durable: false, autoDelete: true });
    return queue;
  });
}

/** Where there is another address to go on with. A blocked broker answers nothing, and need not. */
export function canBeProven({ hasSeveral, isOpen, isBlocked }: Connection): boolean {
  return hasSeveral && isOpen && !isBlocked;
}

/** Changes something and takes it back: a node that is cut off from its cluster cannot, and shows it by nothing that only reads. */
export async function proveNode(connection: Connection): Promise<void> {
  await connection.withChannel(async (channel) => {
    const { queue } = await channel.assertQueue("", { exclusive: true, durable: false, autoDelete: true });
    await channel.deleteQueue(queue);
  });
}

/** A request queue that stands is used as it is, whoever declared it; see docs/decisions/0004-request-queue.md. */
export async function declareRequestQueue(connection: Connection, operation: Operation): Promise<void> {
  const { name, exchange, requestQueue } = operation;
  await declareApiExchange(connection, operation);
  if ((await inspectQueue(connection, name)) === undefined) {
    if (requestQueue === "durable") {
      await declare(connection, `queue "${name}"`, `durable, x-expires ${requestQueueExpiresMs}`, (channel) =>
        channel.assertQueue(name, { durable: true, arguments: { "x-expires": requestQueueExpiresMs } }),
      );
    } else {
      await declare(connection, `queue "${name}"`, "transient, auto-delete", (channel) =>
        channel.assertQueue(name, { durable: false, autoDelete: true }),
      );
    }
  }
  await bind(connection, exchange, name, name);
}

/** @returns what waits in a queue and who consumes it; undefined when it does not exist */
export async function inspectQueue(
  connection: Connection,
  name: string,
): Promise<{ messageCount: number; consumerCount: number } | undefined> {
  try {
    return await connection.withChannel((channel) => channel.checkQueue(name));
  } catch (error) {
    if (replyCodeOf(error) === 404) return undefined;
    throw error;
  }
}

async function declareDurableQueue(connection: Connection, name: string): Promise<void> {
  await declare(connection, `queue "${name}"`, "durable", (channel) => channel.assertQueue(name, { durable: true }));
}

async function bind(connection: Connection, exchange: string, queue: string, key: string): Promise<void> {
  await declare(connection, `a binding of queue "${queue}" to exchange "${exchange}"`, `key "${key}"`, (channel) =>
    channel.bindQueue(queue, exchange, key),
  );
}

async function declare<T>(
  connection: Connection,
  what: string,
  flags: string,
  work: (channel: Channel) => Promise<T>,
): Promise<T> {
  try {
    return await connection.withChannel(work);
  } catch (error) {
    throw topologyError(error, what, flags) ?? error;
  }
}

/** What no waiting mends, in words; undefined for anything else. */
function topologyError(error: unknown, what: string, flags: string): TopologyError | undefined {
  const text = messageOf(error);
  switch (replyCodeOf(error)) {
    case 406: {
      const [, argument, received, current] =
        /inequivalent arg '([^']+)'.*received (.*?) but current is (.*?)"?$/s.exec(text) ?? [];
      const difference =
        argument === undefined ? text : `the broker has ${argument} ${current}, this service declares ${received}`;
      return new TopologyError(
        `Cannot declare ${what} (${flags}): it already exists with different arguments: ${difference}. Delete it on the broker, or declare it alike on both sides.`,
        error,
      );
    }
    case 403:
      return new TopologyError(
        `Cannot declare ${what} (${flags}): this user is not permitted to. Grant the permissions that permissionsOf of amqp-kit/derive returns. ${text}`,
        error,
      );
    case 405:
      return new TopologyError(
        `Cannot declare ${what} (${flags}): it is an exclusive queue of another connection. Find its owner in the broker's list of queues.`,
        error,
      );
    case 541:
      // A node that has lost its cluster answers "Could not add binding due to timeout". It may recover.
      if (/time[d ]*out/i.test(text)) return undefined;
      if (what.startsWith("exchange")) {
        return new TopologyError(
          `Cannot declare ${what} (${flags}): the broker fails on it with an internal error, see its log. RabbitMQ 4.3 can damage an ` +
            `exchange when its last listener leaves while another one binds. Then only a new virtual host helps.`,
          error,
        );
      }
      return new TopologyError(
        `Cannot declare ${what} (${flags}): the broker refuses this kind of queue. From RabbitMQ 4.3 a shared transient queue needs ` +
          `deprecated_features.permit.transient_nonexcl_queues = true; a durable one needs no setting (requestQueue: "durable").`,
        error,
      );
    default:
      return undefined;
  }
}
