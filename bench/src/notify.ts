import { createVirtualHost, type VirtualHost } from "@amqp-idioms/local-servers";
import { connect } from "amqp-kit";
import { bareConnection, barePublisher, bareSubscriber } from "./bare.ts";
import type { BenchServers, Figure } from "./figure.ts";
import { events, message, subscriptionQueue, system } from "./contracts.ts";
import { rateOf } from "./rate.ts";

const unconfirmed = 256;

/** One subscriber's queue: publishes with confirms while nobody consumes, then consumes while nobody publishes. */
export async function measureNotify(
  broker: BenchServers["broker"],
  type: "classic" | "quorum",
  seconds: number,
): Promise<Figure[]> {
  await using vhost = await createVirtualHost(broker, { defaultQueueType: type });
  await using notifier = await connect(vhost.url, { system, service: "sender" });
  const queue = await vhost.management.queue(vhost.name, subscriptionQueue);
  if (queue?.type !== type) throw new Error(`${subscriptionQueue} is a ${queue?.type} queue, not a ${type} one.`);
  const connection = await bareConnection(vhost.url);
  const bare = await barePublisher(connection, events.name);
  const body = Buffer.from(JSON.stringify(message));
  try {
    const figures: Figure[] = [
      {
        what: `notify, published and confirmed, ${type} queue`,
        unit: "messages/s",
        kit: await rateOf(seconds, unconfirmed, () => notifier.notify(events, message)),
        amqplib: await rateOf(seconds, unconfirmed, () => bare(body)),
      },
    ];
    for (const concurrency of [1, 100]) {
      const fill = async (): Promise<void> => {
        await vhost.management.purgeQueue(vhost.name, subscriptionQueue);
        const count = Math.ceil(5_000 * seconds);
        for (let filled = 0; filled < count; filled += unconfirmed) {
          await Promise.all(Array.from({ length: unconfirmed }, () => bare(body)));
        }
      };
      await fill();
      const kit = await handledByKit(vhost, concurrency, seconds);
      await fill();
      const amqplib = await handled(seconds, (handled) =>
        bareSubscriber(connection, { queue: subscriptionQueue, prefetch: concurrency, handled }),
      );
      figures.push({
        what: `notify, handled ${concurrency} at a time, ${type} queue`,
        unit: "messages/s",
        kit,
        amqplib,
      });
    }
    return figures;
  } finally {
    await connection.close();
  }
}

async function handledByKit(vhost: VirtualHost, concurrency: number, seconds: number): Promise<number> {
  await using subscriber = await connect(vhost.url, { system, service: "receiver" });
  return await handled(seconds, async (handled) => {
    const subscription = await subscriber.subscribe(events, handled, { concurrency });
    return () => subscription.stop();
  });
}

/** Counts from the first message until the time is over or the queue is empty. */
async function handled(seconds: number, open: (handled: () => void) => Promise<() => Promise<void>>): Promise<number> {
  let startedAt = 0;
  let lastAt = 0;
  let count = 0;
  const stop = await open(() => {
    lastAt = performance.now();
    if (startedAt === 0) startedAt = lastAt;
    count += 1;
  });
  const isOver = (): boolean => {
    const now = performance.now();
    return startedAt > 0 && (now - startedAt > seconds * 1000 || now - lastAt > 200);
  };
  while (!isOver()) await new Promise((resolve) => setTimeout(resolve, 5));
  const rate = ((count - 1) * 1000) / (lastAt - startedAt);
  await stop();
  return rate;
}
