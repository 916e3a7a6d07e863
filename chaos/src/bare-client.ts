import { randomUUID } from "node:crypto";
import { setTimeout as sleep } from "node:timers/promises";
import amqplib, { type ConfirmChannel, type ConsumeMessage, type Options } from "amqplib";
import { monotonicMs } from "./clock.ts";

/**
 * A client in plain amqplib, connected directly to the broker: it sends malformed messages, collects the replies, and records all
 * notifications. It reconnects when its connection is lost.
 */

export type Properties = Options.Publish;

export const problemType = "application/problem+json";

/** "unknown": the connection was lost before the broker confirmed or returned the message. */
export type Fate = "routed" | "returned" | "unknown";

export interface Reply {
  readonly at: number;
  readonly contentType: string;
}

export interface SeenNotification {
  readonly at: number;
  readonly messageId: string;
  readonly body: string;
}

interface Session {
  readonly channel: ConfirmChannel;
  readonly replyQueue: string;
  readonly lost: Promise<void>;
}

export class BareClient implements AsyncDisposable {
  /** By correlation id */
  readonly replies = new Map<string, Reply>();
  /** Notifications that this client received */
  readonly seenNotifications: SeenNotification[] = [];
  /** Times at which its connection was lost */
  readonly connectionLosses: number[] = [];
  readonly #urls: readonly string[];
  #turn = 0;
  readonly #exchange: string;
  readonly #returned = new Set<string>();
  readonly #running: Promise<void>;
  #session: Session | undefined;
  #isClosed = false;
  #close: (() => Promise<void>) | undefined;

  /** @param urls  tried in turn */
  constructor(urls: readonly string[], exchange: string) {
    this.#urls = urls;
    this.#exchange = exchange;
    this.#running = this.#keepConnected();
  }

  /** The current reply queue; undefined without a connection. */
  get replyQueue(): string | undefined {
    return this.#session?.replyQueue;
  }

  /** Publishes a mandatory message and resolves with its fate. */
  async publish(exchange: string, routingKey: string, body: Buffer, properties: Properties): Promise<Fate> {
    const session = this.#session;
    if (session === undefined) return "unknown";
    const { channel, lost } = session;
    const mark = randomUUID();
    const headers = { ...properties.headers, "chaos-mark": mark };
    const { promise, resolve } = Promise.withResolvers<Fate>();
    try {
      channel.publish(exchange, routingKey, body, { ...properties, headers, mandatory: true }, (error) => {
        if (error !== null) return resolve("unknown");
        resolve(this.#returned.delete(mark) ? "returned" : "routed");
      });
    } catch {
      return "unknown";
    }
    return Promise.race([promise, lost.then(() => "unknown" as const)]);
  }

  async #keepConnected(): Promise<void> {
    while (!this.#isClosed) {
      try {
        const session = await this.#open();
        this.#session = session;
        await session.lost;
        this.connectionLosses.push(monotonicMs());
      } catch {
        // The broker is not reachable, or the exchange does not exist yet
      }
      this.#session = undefined;
      await this.#close?.().catch(() => undefined);
      if (!this.#isClosed) await sleep(300);
    }
  }

  async #open(): Promise<Session> {
    const connection = await amqplib.connect(this.#urls[this.#turn++ % this.#urls.length] ?? "", {
      noDelay: true,
      timeout: 5_000,
    });
    const { promise: lost, resolve } = Promise.withResolvers<void>();
    // amqplib's `close` never resolves if the connection is lost during it
    const ended = new Promise<void>((end) => connection.once("close", () => end()));
    this.#close = () => Promise.race([connection.close(), ended]);
    connection.on("error", () => undefined).on("close", () => resolve());
    const channel = await connection.createConfirmChannel();
    channel
      .on("error", () => undefined)
      .on("close", () => resolve())
      .on("return", ({ properties }) => this.#returned.add(String(properties.headers?.["chaos-mark"])));
    const exclusive = { exclusive: true, durable: false, autoDelete: true };
    const { queue: replyQueue } = await channel.assertQueue("", exclusive);
    await channel.consume(replyQueue, (message) => this.#onReply(message), { noAck: true });
    const { queue } = await channel.assertQueue("", exclusive);
    await channel.bindQueue(queue, this.#exchange, "");
    await channel.consume(queue, (message) => this.#onNotification(message), { noAck: true });
    return { channel, replyQueue, lost };
  }

  #onReply(message: ConsumeMessage | null): void {
    if (message === null) return;
    const { correlationId, contentType } = message.properties;
    const before = this.replies.get(String(correlationId));
    // A success replaces an error, and is never replaced
    if (before !== undefined && before.contentType !== problemType) return;
    this.replies.set(String(correlationId), { at: monotonicMs(), contentType: String(contentType) });
  }

  #onNotification(message: ConsumeMessage | null): void {
    if (message === null) return;
    const { properties, content } = message;
    this.seenNotifications.push({
      at: monotonicMs(),
      messageId: String(properties.messageId),
      body: content.toString(),
    });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#isClosed = true;
    await this.#close?.().catch(() => undefined);
    await this.#running;
  }
}
