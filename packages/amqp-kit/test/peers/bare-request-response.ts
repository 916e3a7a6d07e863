/** Request/response in plain amqplib, written from the wire table in docs/: what a stranger's program does. */
import { randomUUID } from "node:crypto";
import type { ConsumeMessage, Options } from "amqplib";
import { bareConnection } from "./bare-connection.ts";

type Properties = { [P in keyof Options.Publish]: Options.Publish[P] | undefined };

/** Properties are written over its own, so that they can also be wrong ones, or absent. */
export async function bareRequester(url: string, exchange: string, operation: string) {
  const { connection, close } = await bareConnection(url);
  const channel = await connection.createChannel();
  const { queue: replyQueue } = await channel.assertQueue("", { exclusive: true, durable: false, autoDelete: true });
  const waiting = new Map<string, (reply: ConsumeMessage) => void>();
  const others: ConsumeMessage[] = [];
  const onReply = (reply: ConsumeMessage | null): void => {
    if (reply !== null) (waiting.get(reply.properties.correlationId) ?? ((other) => others.push(other)))(reply);
  };
  await channel.consume(replyQueue, onReply, { noAck: true });
  function send(body: string | Buffer, properties: Properties = {}): void {
    const all = Object.entries({ contentType: "application/json", replyTo: replyQueue, ...properties });
    const written = Object.fromEntries(all.filter(([, value]) => value !== undefined));
    channel.publish(exchange, operation, Buffer.from(body), written);
  }
  async function ask(body: string | Buffer, properties: Properties = {}): Promise<ConsumeMessage> {
    const correlationId = randomUUID();
    const reply = new Promise<ConsumeMessage>((resolve) => waiting.set(correlationId, resolve));
    send(body, { correlationId, ...properties });
    return reply;
  }
  return { ask, send, replyQueue, others, [Symbol.asyncDispose]: () => close() };
}

/** Answers with whatever `onRequest` returns, as JSON unless its properties say otherwise; undefined: not at all. */
export async function bareResponder(
  url: string,
  exchange: string,
  operation: string,
  onRequest: (request: ConsumeMessage) => { body: string | Buffer; properties?: Options.Publish } | undefined,
) {
  const { connection, close } = await bareConnection(url);
  const channel = await connection.createChannel();
  await channel.assertExchange(exchange, "direct", { durable: false, autoDelete: true });
  await channel.assertQueue(operation, { durable: true, autoDelete: true });
  await channel.bindQueue(operation, exchange, operation);
  await channel.consume(operation, (request) => {
    if (request === null) return;
    const answer = onRequest(request);
    if (answer !== undefined) reply(request, answer.body, answer.properties);
    channel.ack(request);
  });
  function reply({ properties }: ConsumeMessage, body: string | Buffer, written: Options.Publish = {}): void {
    const { replyTo, correlationId } = properties;
    channel.sendToQueue(replyTo, Buffer.from(body), { contentType: "application/json", correlationId, ...written });
  }
  return { channel, reply, [Symbol.asyncDispose]: () => close() };
}

/** What stands on a broker without anybody to answer: an exchange, and on wish a queue. */
export async function bareTopology(url: string, exchange: string, queue?: string) {
  const { connection, close } = await bareConnection(url);
  const channel = await connection.createChannel();
  await channel.assertExchange(exchange, "direct", { durable: false, autoDelete: true });
  if (queue !== undefined) {
    await channel.assertQueue(queue, { durable: true });
    await channel.bindQueue(queue, exchange, queue);
  }
  return { channel, [Symbol.asyncDispose]: () => close() };
}
