import type { FetchedMessage, VirtualHost } from "@amqp-idioms/local-servers";

const queue = "received";
const exchange = "score_updates";

/** Binds an unbounded queue, as the consumer of the 2009 post does. @returns takes the messages that have arrived */
export async function listenBare({ name, management }: VirtualHost): Promise<() => Promise<FetchedMessage[]>> {
  await management.declareExchange(name, exchange, { type: "fanout", durable: false, auto_delete: true });
  await management.declareQueue(name, queue);
  await management.bindQueue(name, queue, exchange);
  return () => management.getMessages(name, queue, { count: 100_000, take: true });
}
