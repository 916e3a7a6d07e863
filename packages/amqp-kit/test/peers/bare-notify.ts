/** Notify in plain amqplib, written from the wire table in docs/: what a stranger's program does. */
import amqplib, { type ConsumeMessage, type Options } from "amqplib";

/** The body goes out as it is, so that it can also be a wrong one. */
export async function bareNotifier(url: string, exchange: string, subscribers: readonly string[]) {
  const connection = await amqplib.connect(url, { noDelay: true });
  const channel = await connection.createConfirmChannel();
  await channel.assertExchange(exchange, "fanout", { durable: true });
  for (const subscriber of subscribers) {
    const { queue } = await channel.assertQueue(`${exchange}.${subscriber}`, { durable: true });
    await channel.bindQueue(queue, exchange, "");
  }
  async function notify(body: string | Buffer, properties: Options.Publish = {}): Promise<void> {
    const written = { contentType: "application/json", persistent: true, mandatory: true, ...properties };
    channel.publish(exchange, "", Buffer.from(body), written);
    await channel.waitForConfirms();
  }
  return { notify, [Symbol.asyncDispose]: () => connection.close() };
}

/** Acknowledges once `onMessage` has resolved. */
export async function bareSubscriber(
  url: string,
  exchange: string,
  subscriber: string,
  onMessage: (message: ConsumeMessage) => Promise<void> | void,
) {
  const connection = await amqplib.connect(url, { noDelay: true });
  const channel = await connection.createChannel();
  const { queue } = await channel.assertQueue(`${exchange}.${subscriber}`, { durable: true });
  await channel.bindQueue(queue, exchange, "");
  await channel.prefetch(1);
  await channel.consume(queue, (message) => {
    if (message !== null) void Promise.resolve(onMessage(message)).then(() => channel.ack(message));
  });
  return { [Symbol.asyncDispose]: () => connection.close() };
}
