import { setTimeout as sleep } from "node:timers/promises";
import type { Message, Options } from "amqplib";
import type { Connection } from "./connection.ts";
import type { Incoming } from "./consumer.ts";
import { Deadline } from "./deadline.ts";
import { AmqpKitError, InvalidMessageError, MessageTooLargeError } from "./errors.ts";
import { attemptHeader, attemptOf, maxHeaderBytes, sizeOf } from "./message.ts";
import { Publisher } from "./publisher.ts";
import type { Outgoing } from "./publisher.ts";
import { told, withoutValues } from "./telemetry.ts";
import type { Logger } from "./telemetry.ts";
import { deadQueue, declareSubscription, delayQueue } from "./topology.ts";

/**
 * What becomes of a message that a handler could not take: it waits in a delay queue for its next attempt, or is set aside in
 * `<queue>.dead`. Published, confirmed, then acknowledged: a crash in between makes a double, never a loss. Knows no idiom.
 */

const confirmTimeoutMs = 10_000;
const pauseMs = 1_000;
const maxErrorBytes = 1_024;

export class FailureRoute {
  readonly #connection: Connection;
  readonly #queue: string;
  readonly #service: string;
  readonly #retryDelaysMs: readonly number[];
  readonly #logger: Logger;
  readonly #publisher: Publisher;
  #turn: Promise<void> = Promise.resolve();

  /** @param connection  publishes: opened when the first message fails */
  constructor(
    connection: Connection,
    queue: string,
    service: string,
    retryDelaysMs: readonly number[],
    logger: Logger,
  ) {
    this.#connection = connection;
    this.#queue = queue;
    this.#service = service;
    this.#retryDelaysMs = retryDelaysMs;
    this.#logger = logger;
    this.#publisher = new Publisher(connection, `${queue}.failed`);
  }

  /** @returns the pause before the next attempt; undefined when there is none left */
  delayAfter(message: Message): number | undefined {
    return this.#retryDelaysMs[attemptOf(message.properties.headers ?? {}) - 1];
  }

  /** Sends it to its delay queue, from where the broker returns it to this one subscriber, and acknowledges. */
  async retry(incoming: Incoming, delayMs: number): Promise<void> {
    const headers = headersThatTravel(incoming.message);
    headers[attemptHeader] = attemptOf(headers) + 1;
    headers["amqp-kit-first-failed-at"] ??= new Date().toISOString();
    await this.#move(incoming, delayQueue(this.#queue, delayMs), headers);
  }

  /** Sends it to `<queue>.dead` with the reason, and acknowledges. */
  async setAside(incoming: Incoming, reason: unknown): Promise<void> {
    const headers = headersThatTravel(incoming.message);
    const now = new Date().toISOString();
    headers[attemptHeader] = attemptOf(headers);
    headers["amqp-kit-first-failed-at"] ??= now;
    headers["amqp-kit-last-failed-at"] = now;
    headers["amqp-kit-queue"] = this.#queue;
    headers["amqp-kit-service"] = this.#service;
    headers["amqp-kit-reason"] = reasonCode(reason);
    headers["amqp-kit-error"] = describe(reason);
    await this.#move(incoming, deadQueue(this.#queue), headers);
  }

  get unconfirmed(): string[] {
    return this.#publisher.unconfirmed;
  }

  async close(): Promise<void> {
    await this.#publisher.close();
  }

  /** One at a time: a message without an id can then still be told from others when it is returned. */
  async #move(incoming: Incoming, routingKey: string, headers: Record<string, unknown>): Promise<void> {
    const before = this.#turn;
    const { promise, resolve } = Promise.withResolvers<void>();
    this.#turn = promise;
    await before;
    try {
      await this.#publishUntilSafe(incoming, routingKey, headers);
    } finally {
      resolve();
    }
  }

  /** The message stays unacknowledged until another queue has it safe, or its channel is lost and the broker hands it out again. */
  async #publishUntilSafe(incoming: Incoming, routingKey: string, headers: Record<string, unknown>): Promise<void> {
    const { message, abort } = incoming;
    let travelling = headers;
    while (!abort.signal.aborted) {
      try {
        await this.#publisher.publish(
          movedOn(message, routingKey, travelling),
          new Deadline(confirmTimeoutMs, abort.signal),
        );
        incoming.ack();
        return;
      } catch (error) {
        if (abort.signal.aborted) return;
        // amqplib cannot write what it has read: then none of the sender's headers travel.
        if (!(error instanceof AmqpKitError)) travelling = ownHeaders(headers);
        this.#logger.error(
          { queue: routingKey },
          `a failed message cannot be moved yet, and stays where it is: ${told(error)}`,
        );
        await sleep(pauseMs, undefined, { signal: abort.signal }).catch(() => undefined);
        await declareSubscription(this.#connection, this.#queue, this.#retryDelaysMs).catch(() => undefined);
      }
    }
  }
}

/** The same message on its way to another queue. */
export function movedOn(message: Message, routingKey: string, headers: Record<string, unknown>): Outgoing {
  return {
    messageId: text(message.properties.messageId),
    routingKey,
    body: message.content,
    properties: () => propertiesThatTravel(message, headers),
  };
}

/** As they came, except what a broker acts upon: kept `CC` would put a copy into the main queue. Headers over the limit stay behind. */
export function headersThatTravel({ properties }: Pick<Message, "properties">): Record<string, unknown> {
  const all = Object.entries<unknown>(properties.headers ?? {}).filter(
    ([name]) => !/^(x-.*|CC|BCC)$/i.test(name) && !isTooLong(name),
  );
  const headers = Object.fromEntries(all);
  if (sizeOf(headers) <= maxHeaderBytes) return headers;
  return { "amqp-kit-headers-dropped": all.length };
}

function ownHeaders(headers: Record<string, unknown>): Record<string, unknown> {
  return Object.fromEntries(Object.entries(headers).filter(([name]) => name.startsWith("amqp-kit-")));
}

/** Bytes that are not UTF-8 take three when written again, and an AMQP short string holds 255. */
function isTooLong(value: unknown): boolean {
  return typeof value === "string" && Buffer.byteLength(value) > 255;
}

/** Kept `expiration` would empty the dead queue, kept `user_id` closes the channel. */
function propertiesThatTravel({ properties }: Message, headers: Record<string, unknown>): Options.Publish {
  const { contentType, contentEncoding, priority, correlationId, replyTo, timestamp, type, appId } = properties;
  const kept = { contentType, contentEncoding, priority, correlationId, replyTo, timestamp, type, appId };
  return {
    ...Object.fromEntries(Object.entries(kept).filter(([, value]) => value !== undefined && !isTooLong(value))),
    headers,
    deliveryMode: 2,
  };
}

export function reasonCode(reason: unknown): string {
  if (reason instanceof InvalidMessageError) return "invalid_message";
  if (reason instanceof MessageTooLargeError) return "message_too_large";
  return "handler_failed";
}

/** Our own errors' sentences hold no values. */
function describe(reason: unknown): string {
  const sentence = reason instanceof AmqpKitError ? `${reason.name}: ${reason.message}` : withoutValues(reason).error;
  return Buffer.from(sentence)
    .subarray(0, maxErrorBytes)
    .toString()
    .replace(/\uFFFD+$/, "");
}

function text(value: unknown): string | undefined {
  return typeof value === "string" && !isTooLong(value) ? value : undefined;
}
