/** The idioms in plain amqplib, with the wire format of docs/, but without validation, retries and recovery: the difference is what the kit costs. */
import { randomUUID } from "node:crypto";
import amqplib, { type ChannelModel } from "amqplib";

const transient = { durable: false, autoDelete: true };
const json = { contentType: "application/json" };

export async function bareConnection(url: string): Promise<ChannelModel> {
  return amqplib.connect(url, { noDelay: true });
}

/** @returns a function that sends one message. Each listener calls `onDelivery` for each delivery. */
export async function bareBroadcast(
  connection: ChannelModel,
  options: { exchange: string; listeners: number; onDelivery: () => void },
): Promise<(body: Buffer) => void> {
  const { exchange, listeners, onDelivery } = options;
  for (let listener = 0; listener < listeners; listener++) {
    const channel = await connection.createChannel();
    await channel.assertExchange(exchange, "fanout", transient);
    const { queue } = await channel.assertQueue("", { exclusive: true, ...transient });
    await channel.bindQueue(queue, exchange, "");
    await channel.consume(queue, onDelivery, { noAck: true });
  }
  const channel = await connection.createChannel();
  return (body) => void channel.publish(exchange, "", body, json);
}

/** @returns a function that publishes one message and resolves when the broker has confirmed it */
export async function barePublisher(
  connection: ChannelModel,
  exchange: string,
): Promise<(body: Buffer) => Promise<void>> {
  const channel = await connection.createConfirmChannel();
  const properties = { ...json, persistent: true, mandatory: true };
  return (body) =>
    new Promise((resolve, reject) => {
      channel.publish(exchange, "", body, properties, (error: unknown) => (error === null ? resolve() : reject(error)));
    });
}

/** Acknowledges each message as soon as it arrives. @returns a function that stops it */
export async function bareSubscriber(
  connection: ChannelModel,
  options: { queue: string; prefetch: number; handled: () => void },
): Promise<() => Promise<void>> {
  const { queue, prefetch, handled } = options;
  const channel = await connection.createChannel();
  await channel.prefetch(prefetch);
  await channel.consume(queue, (message) => {
    if (message === null) return;
    channel.ack(message);
    handled();
  });
  return () => channel.close();
}

/** Answers each request with its own body. @returns a function that sends a request and resolves with the reply */
export async function bareRequestResponse(
  connection: ChannelModel,
  queue: string,
): Promise<(body: Buffer) => Promise<Buffer>> {
  const responder = await connection.createChannel();
  await responder.assertQueue(queue, { exclusive: true });
  await responder.prefetch(10);
  await responder.consume(queue, (request) => {
    if (request === null) return;
    const { replyTo, correlationId } = request.properties;
    responder.sendToQueue(replyTo, request.content, { ...json, correlationId });
    responder.ack(request);
  });

  const requester = await connection.createChannel();
  const { queue: replyQueue } = await requester.assertQueue("", { exclusive: true });
  const waiting = new Map<string, (body: Buffer) => void>();
  await requester.consume(
    replyQueue,
    (reply) => {
      const id = String(reply?.properties.correlationId);
      if (reply !== null) waiting.get(id)?.(reply.content);
      waiting.delete(id);
    },
    { noAck: true },
  );
  return (body) =>
    new Promise((resolve) => {
      const correlationId = randomUUID();
      waiting.set(correlationId, resolve);
      requester.sendToQueue(queue, body, { ...json, replyTo: replyQueue, correlationId });
    });
}
