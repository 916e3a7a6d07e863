import type { Channel } from "amqplib";
import { replyCodeOf } from "./channel.ts";
import type { Connection } from "./connection.ts";
import type { Broadcast, Notification, Operation } from "../contract.ts";
import { TopologyError } from "../errors.ts";
import { deadQueue, delayQueue, failedExchange, subscriptionQueue } from "../names.ts";
import { messageOf } from "../telemetry/log.ts";

/**
 * Declares exchanges, queues and bindings, derived from contracts. docs/ lists which role declares what; the derived permissions allow exactly
 * that. Policies and the virtual host's default queue type decide queue types, length limits and delivery limits.
 * Each declaration has a channel of its own, since a refusal closes the channel that it arrives on.
 */

/** The broker deletes a request queue that has had no consumer for so long. */
const requestQueueExpiresMs = 60_000;
const bindAttempts = 5;
const listenerQueueBytes = 16 * 1024 * 1024;

export async function declareBroadcastExchange(connection: Connection, { name }: Broadcast): Promise<void> {
  await declare(connection, `exchange "${name}"`, "fanout, transient, auto-delete", (channel) =>
    channel.assertExchange(name, "fanout", { durable: false, autoDelete: true }),
  );
}

/**
 * Binds a queue that stores nothing, so that the exchange exists as long as its sender is connected, instead of being deleted with its last
 * listener. If one listener leaves while another binds, RabbitMQ 4.3 may bind the new one to an exchange that it is deleting (measured on
 * 4.3.6, in one of five such moments). That exchange routes nothing, and every client that declares it loses its connection, with 541.
 * @param holding  the queue that was bound for this purpose before, if it still exists
 * @returns the queue that is bound now
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

/** Declares and binds the queue of one listener. @returns its name */
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
    // An auto-delete queue that never had a consumer exists as long as its connection.
    await connection.withChannel((channel) => channel.deleteQueue(queue)).catch(() => undefined);
    throw error;
  }
}

/** Declares the exchange and binds a listener's queue to it, again if the exchange was deleted meanwhile. @throws if the queue is missing */
export async function bindListener(connection: Connection, broadcast: Broadcast, queue: string): Promise<void> {
  const { name } = broadcast;
  for (let attempt = 1; ; attempt++) {
    await declareBroadcastExchange(connection, broadcast);
    try {
      await bind(connection, name, queue, "");
      // The exchange may have been deleted with its last listener, before or even while the queue was bound.
      await connection.withChannel((channel) => channel.checkExchange(name));
      return;
    } catch (error) {
      if (replyCodeOf(error) !== 404 || attempt === bindAttempts) throw error;
    }
  }
}

/** Declares the notifier's part: the exchange, and the queues of all subscribers, so that no message is lost before a subscriber's first run. */
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

/** Declares the subscriber's part: its queue, and the exchange and queues for its failed messages. `bindSubscription` binds the queue to the notifier's exchange. */
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
    // Only the kit declares delay queues, so they may have arguments. A quorum queue that dead-letters at least once loses no message if the
    // broker is killed between two queues; a classic queue does (rabbitmq.com/docs/quorum-queues#dead-lettering).
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

/** The broker reveals the type of a queue only by refusing to declare it with another one, and logs the refusal. Call it only where it matters. */
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

/** Binds the queue, if the notifier's exchange exists. @returns whether it exists */
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

/** Declares the queue for the replies of one requester. @returns its name */
export async function declareReplyQueue(connection: Connection): Promise<string> {
  return declare(connection, "a reply queue", "exclusive, auto-delete", async (channel) => {
    const { queue } = await channel.assertQueue("", { exclusive: true, durable: false, autoDelete: true });
    return queue;
  });
}

/** Whether a check of the node makes sense: there is another address to use instead, and the broker is not blocked, when it need not answer. */
export function shouldCheckNode({ hasSeveral, isOpen, isBlocked }: Connection): boolean {
  return hasSeveral && isOpen && !isBlocked;
}

/** Declares and deletes a queue, to check that the node belongs to its cluster. A node that is cut off cannot do this, although it still answers read-only operations. */
export async function checkNodeCanChange(connection: Connection): Promise<void> {
  await connection.withChannel(async (channel) => {
    const { queue } = await channel.assertQueue("", { exclusive: true, durable: false, autoDelete: true });
    await channel.deleteQueue(queue);
  });
}

/** Declares the request queue if it does not exist. An existing one is used with its arguments; see docs/decisions/0004-request-queue.md. */
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

/** @returns how many messages and consumers a queue has; undefined if it does not exist */
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

/** The error of a refusal that no retry can fix; undefined for any other error. */
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
