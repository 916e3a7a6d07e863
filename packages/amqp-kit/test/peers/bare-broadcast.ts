/** Broadcast in plain amqplib, written from the wire table in docs/: what a stranger's program does. */
import type { ConsumeMessage, Options } from "amqplib";
import { bareConnection } from "./bare-connection.ts";

const transient = { durable: false, autoDelete: true };

/** The body goes out as it is, so that it can also be a wrong one. */
export async function bareSender(url: string, exchange: string) {
  const { connection, close } = await bareConnection(url);
  const channel = await connection.createChannel();
  async function send(body: string | Buffer, properties: Options.Publish = {}): Promise<void> {
    // The exchange goes with its last listener
    await channel.assertExchange(exchange, "fanout", transient);
    channel.publish(exchange, "", Buffer.from(body), { contentType: "application/json", ...properties });
  }
  /** What else a stranger may do. */
  async function deleteExchange(): Promise<void> {
    await channel.deleteExchange(exchange);
  }
  return { send, deleteExchange, [Symbol.asyncDispose]: () => close(channel) };
}

export async function bareListener(url: string, exchange: string, onMessage: (message: ConsumeMessage) => void) {
  const { connection, close } = await bareConnection(url);
  const channel = await connection.createChannel();
  await channel.assertExchange(exchange, "fanout", transient);
  const { queue } = await channel.assertQueue("", { exclusive: true, ...transient });
  await channel.bindQueue(queue, exchange, "");
  await channel.consume(queue, (message) => message && onMessage(message), { noAck: true });
  return { [Symbol.asyncDispose]: () => close() };
}
