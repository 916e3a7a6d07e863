import { randomUUID } from "node:crypto";
import { setTimeout as sleep } from "node:timers/promises";
import amqplib, { type ConfirmChannel, type ConsumeMessage, type Options } from "amqplib";
import { monotonicMs } from "./clock.ts";

/**
 * A stranger on the wire, in plain amqplib and straight to the broker: sends what is malformed, gets the answers, and reads along what is
 * notified. It comes back when its connection is lost.
 */

export type Properties = Options.Publish;

export const problemType = "application/problem+json";

/** "unknown": the connection was lost before the broker said anything. */
export type Fate = "routed" | "returned" | "unknown";

export interface Reply {
  readonly at: number;
  readonly contentType: string;
}

export interface Heard {
  readonly at: number;
  readonly messageId: string;
  readonly body: string;
}

interface Standing {
  readonly channel: ConfirmChannel;
  readonly replyQueue: string;
  readonly lost: Promise<void>;
}

export class Bare implements AsyncDisposable {
  /** By correlation id */
  readonly replies = new Map<string, Reply>();
  /** What the notify exchange was seen to hand out, while this listened */
  readonly heard: Heard[] = [];
  /** When its connection was lost */
  readonly losses: number[] = [];
  readonly #urls: readonly string[];
  #turn = 0;
  readonly #exchange: string;
  readonly #returned = new Set<string>();
  readonly #running: Promise<void>;
  #standing: Standing | undefined;
  #isClosed = false;
  #close: (() => Promise<void>) | undefined;

  /** @param urls  one after the other is tried */
  constructor(urls: readonly string[], exchange: string) {
    this.#urls = urls;
    this.#exchange = exchange;
    this.#running = this.#run();
  }

  /** Where answers are to be sent now; undefined while there is no connection. */
  get replyQueue(): string | undefined {
    return this.#standing?.replyQueue;
  }

  /** Publishes, mandatory, and resolves with what became of it. */
  async publish(exchange: string, routingKey: string, body: Buffer, properties: Properties): Promise<Fate> {
    const standing = this.#standing;
    if (standing === undefined) return "unknown";
    const { channel, lost } = standing;
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

  async #run(): Promise<void> {
    while (!this.#isClosed) {
      try {
        const standing = await this.#stand();
        this.#standing = standing;
        await standing.lost;
        this.losses.push(monotonicMs());
      } catch {
        // Nobody there yet, or no exchange
      }
      this.#standing = undefined;
      await this.#close?.().catch(() => undefined);
      if (!this.#isClosed) await sleep(300);
    }
  }

  async #stand(): Promise<Standing> {
    const connection = await amqplib.connect(this.#urls[this.#turn++ % this.#urls.length] ?? "", {
      noDelay: true,
      timeout: 5_000,
    });
    const { promise: lost, resolve } = Promise.withResolvers<void>();
    // amqplib's own `close` waits for ever when the connection is lost meanwhile
    const ended = new Promise<void>((end) => connection.once("close", () => end()));
    this.#close = () => Promise.race([connection.close(), ended]);
    connection.on("error", () => undefined).on("close", () => resolve());
    const channel = await connection.createConfirmChannel();
    channel
      .on("error", () => undefined)
      .on("close", () => resolve())
      .on("return", ({ properties }) => this.#returned.add(String(properties.headers?.["chaos-mark"])));
    const ofOurOwn = { exclusive: true, durable: false, autoDelete: true };
    const { queue: replyQueue } = await channel.assertQueue("", ofOurOwn);
    await channel.consume(replyQueue, (message) => this.#onReply(message), { noAck: true });
    const { queue } = await channel.assertQueue("", ofOurOwn);
    await channel.bindQueue(queue, this.#exchange, "");
    await channel.consume(queue, (message) => this.#onNotification(message), { noAck: true });
    return { channel, replyQueue, lost };
  }

  #onReply(message: ConsumeMessage | null): void {
    if (message === null) return;
    const { correlationId, contentType } = message.properties;
    const before = this.replies.get(String(correlationId));
    // Of several answers the one that is no error stays
    if (before !== undefined && before.contentType !== problemType) return;
    this.replies.set(String(correlationId), { at: monotonicMs(), contentType: String(contentType) });
  }

  #onNotification(message: ConsumeMessage | null): void {
    if (message === null) return;
    const { properties, content } = message;
    this.heard.push({ at: monotonicMs(), messageId: String(properties.messageId), body: content.toString() });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#isClosed = true;
    await this.#close?.().catch(() => undefined);
    await this.#running;
  }
}
