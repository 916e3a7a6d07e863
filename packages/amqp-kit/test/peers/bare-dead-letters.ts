/** A subscription's failure route in plain amqplib, written from the wire table in docs/: fills a dead queue, and sees what comes out. */
import type { ConsumeMessage, Options } from "amqplib";
import { bareConnection } from "./bare-connection.ts";

export async function bareDeadLetters(url: string, queue: string, type?: "classic" | "quorum") {
  const dead = `${queue}.dead`;
  const failed = `${queue}.failed`;
  const { connection, close } = await bareConnection(url);
  const channel = await connection.createConfirmChannel();
  await channel.assertQueue(queue, { durable: true });
  await channel.assertExchange(failed, "direct", { durable: true });
  await channel.assertQueue(dead, { durable: true, ...(type && { arguments: { "x-queue-type": type } }) });
  await channel.bindQueue(queue, failed, "again");
  await channel.bindQueue(dead, failed, dead);

  /** Each message is its body, or a body with properties. */
  async function setAside(
    messages: readonly (string | (Options.Publish & { body: string | Buffer }))[],
  ): Promise<void> {
    for (const message of messages) {
      const { body, ...properties } = typeof message === "string" ? { body: message, messageId: message } : message;
      channel.publish(failed, dead, Buffer.from(body), { persistent: true, mandatory: true, ...properties });
    }
    await channel.waitForConfirms();
  }

  async function consume(
    name: string,
    onMessage: (message: ConsumeMessage) => void,
    options: Options.Consume = {},
  ): Promise<void> {
    await channel.consume(name, (message) => message !== null && onMessage(message), options);
  }

  /** Puts each message of the queue back among the dead, as a handler does that fails for good. */
  async function failAgain(): Promise<void> {
    await channel.prefetch(500);
    await consume(queue, (message) => {
      const { messageId, headers } = message.properties;
      channel.publish(failed, dead, message.content, { persistent: true, messageId, headers }, () =>
        channel.ack(message),
      );
    });
  }

  /** Takes all there is, at once and for good. */
  async function drain(name: string): Promise<ConsumeMessage[]> {
    const messages: ConsumeMessage[] = [];
    const { messageCount } = await channel.checkQueue(name);
    if (messageCount === 0) return messages;
    const { promise, resolve } = Promise.withResolvers<void>();
    const { consumerTag } = await channel.consume(
      name,
      (message) => {
        if (message !== null && messages.push(message) === messageCount) resolve();
      },
      { noAck: true },
    );
    await promise;
    await channel.cancel(consumerTag);
    return messages;
  }

  /** Takes so many and dies with them, as a killed process does. */
  async function takeAndDie(count: number): Promise<void> {
    if (count === 0) return;
    const dying = await connection.createChannel();
    const { promise, resolve } = Promise.withResolvers<void>();
    let taken = 0;
    await dying.consume(dead, () => ++taken === count && resolve());
    await promise;
    await dying.close();
  }

  return {
    setAside,
    consume,
    failAgain,
    drain,
    takeAndDie,
    count: async (name: string) => (await channel.checkQueue(name)).messageCount,
    [Symbol.asyncDispose]: () => close(),
  };
}
