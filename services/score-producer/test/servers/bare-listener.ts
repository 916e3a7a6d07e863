import type { FetchedMessage, VirtualHost } from "@amqp-idioms/local-servers";

const queue = "heard";
const exchange = "score_updates";

/** Listens as the 2009 post's consumer does, by the broker's own means; its queue has no bound. */
export async function listenBare({ name, management }: VirtualHost): Promise<() => Promise<FetchedMessage[]>> {
  await management.declareExchange(name, exchange, { type: "fanout", durable: false, auto_delete: true });
  await management.declareQueue(name, queue);
  await management.bindQueue(name, queue, exchange);
  return () => management.getMessages(name, queue, { count: 100_000, take: true });
}
