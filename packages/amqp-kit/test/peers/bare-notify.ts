/** Notify in plain amqplib, written from the wire table in docs/: what a stranger's program does. */
import type { ConsumeMessage, Options } from "amqplib";
import { bareConnection } from "./bare-connection.ts";

/** The body goes out as it is, so that it can also be a wrong one. */
export async function bareNotifier(url: string, exchange: string, subscribers: readonly string[]) {
  const { connection, close } = await bareConnection(url);
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
  /** As a subscriber does whose handler failed: they wait in its delay queue. */
  async function fail(queue: string, delayMs: number, bodies: readonly string[]): Promise<void> {
    const written = { contentType: "application/json", persistent: true, mandatory: true };
    for (const body of bodies)
      channel.publish(`${queue}.failed`, `${queue}.delay.${delayMs}`, Buffer.from(body), written);
    await channel.waitForConfirms();
  }
  return { notify, fail, [Symbol.asyncDispose]: () => close() };
}

/** Acknowledges once `onMessage` has resolved. */
export async function bareSubscriber(
  url: string,
  exchange: string,
  subscriber: string,
  onMessage: (message: ConsumeMessage) => unknown,
) {
  const { connection, close } = await bareConnection(url);
  const channel = await connection.createChannel();
  const { queue } = await channel.assertQueue(`${exchange}.${subscriber}`, { durable: true });
  await channel.bindQueue(queue, exchange, "");
  await channel.prefetch(1);
  await channel.consume(queue, (message) => {
    if (message !== null) void Promise.resolve(onMessage(message)).then(() => channel.ack(message));
  });
  return { [Symbol.asyncDispose]: () => close(channel) };
}

/** Has the queue's next message in hand, until it is closed. */
export async function holdNext(url: string, queue: string): Promise<{ close(): Promise<void> }> {
  const { connection, close } = await bareConnection(url);
  const channel = await connection.createChannel();
  await channel.prefetch(1);
  const { promise, resolve } = Promise.withResolvers<unknown>();
  await channel.consume(queue, resolve);
  await promise;
  return { close };
}
