import { setTimeout as sleep } from "node:timers/promises";
import type { Message, Options } from "amqplib";
import type { Connection } from "../broker/connection.ts";
import type { Incoming } from "../broker/consumer.ts";
import { Deadline, maxTimerMs } from "../broker/deadline.ts";
import { Publisher } from "../broker/publisher.ts";
import type { Outgoing } from "../broker/publisher.ts";
import { declareSubscription, isQuorumQueue } from "../broker/topology.ts";
import { AmqpKitError, ConnectionError, InvalidMessageError, Reject, RemoteError, RetryLater } from "../errors.ts";
import { maxHeaderBytes, sizeOf } from "../messages/limits.ts";
import { deadQueue, delayQueue, failedExchange } from "../names.ts";
import { codeIn, messageOf, withoutValues } from "../telemetry/log.ts";
import type { Logger } from "../telemetry/log.ts";

/**
 * What becomes of a message that a handler could not take: it waits in a delay queue for its next attempt, or is set aside in
 * `<queue>.dead`. Published, confirmed, then acknowledged: a crash in between makes a double, never a loss. Knows no idiom.
 */

/** How often it is said that a message still waits for its confirm */
const lookEveryMs = 10_000;
/** Looks after which a confirm is no longer believed in, those while the broker was blocked not counted */
const mostLooks = 6;
const pauseMs = 1_000;
const attemptHeader = "amqp-kit-attempt";
const firstFailedHeader = "amqp-kit-first-failed-at";
const maxErrorBytes = 1_024;
/** Of the headers' limit, what the kit keeps for its own. */
const ownHeaderBytes = 4 * 1024;
/** Returned so often by processes that died with it in hand, a message is handled while no other is in hand. */
const suspectAfter = 2;
/** Returned so often, it is set aside. RabbitMQ 4 drops a message that came back 21 times from its quorum queue, without a word. */
const maxReturns = 10;

export const setAsideReasons = [
  "invalid_message",
  "message_too_large",
  "handler_failed",
  "rejected",
  "too_many_deliveries",
] as const;
export type SetAsideReason = (typeof setAsideReasons)[number];

/** The processes that had it in hand died with it, or lost their connection, as often as the broker's count says. */
export class TooManyDeliveries extends Error {
  constructor(returns: number) {
    super(`came back ${returns} times from processes that ended, or lost their connection, with it in hand`);
    this.name = "TooManyDeliveries";
  }
}

/** What became of earlier attempts. */
export interface Failures {
  /** Attempts made, the one that just failed included. */
  attempt: number;
  /** RFC 3339 */
  firstFailedAt: string;
}

/**
 * @param attempt  the one that failed
 * @returns the pause before the next attempt; undefined when there is none
 */
export function delayAfter(attempt: number, error: unknown, retryDelaysMs: readonly number[]): number | undefined {
  const next = retryDelaysMs[attempt - 1];
  if (next === undefined || error instanceof Reject) return undefined;
  if (!(error instanceof RetryLater)) return next;
  const steps = retryDelaysMs.toSorted((one, other) => one - other);
  return steps.find((step) => step >= error.delayMs) ?? steps.at(-1);
}

/** Whether it may be what its processes died of: then no other message should be in hand with it. */
export function isSuspect(message: Message): boolean {
  return claimedReturns(message) >= suspectAfter;
}

export class FailureRoute {
  readonly #connection: Connection;
  readonly #queue: string;
  readonly #service: string;
  readonly #version: string | undefined;
  readonly #delaysMs: readonly number[];
  readonly #logger: Logger;
  readonly #publisher: Publisher;
  #turn: Promise<void> = Promise.resolve();
  #countsReturns: boolean | undefined;

  /**
   * @param connection  publishes: opened when the first message fails
   * @param origin.delaysMs  of the delay queues
   */
  constructor(
    connection: Connection,
    origin: { queue: string; service: string; version: string | undefined; delaysMs: readonly number[] },
    logger: Logger,
  ) {
    const { queue, service, version, delaysMs } = origin;
    this.#connection = connection;
    this.#queue = queue;
    this.#service = service;
    this.#version = version;
    this.#delaysMs = delaysMs;
    this.#logger = logger;
    this.#publisher = new Publisher(connection, failedExchange(queue));
  }

  /** The attempt that a message is at. Only what came back by the kit's own way carries a count: a sender's header is just a header. */
  attemptOf(message: Message): number {
    const attempt: unknown = this.#isOurs(message) ? message.properties.headers?.[attemptHeader] : undefined;
    return typeof attempt === "number" && Number.isSafeInteger(attempt) && attempt >= 1 ? attempt : 1;
  }

  /** When the first attempt failed, which is now if it is the first. */
  firstFailedAt(message: Message): string {
    const before: unknown = this.#isOurs(message) ? message.properties.headers?.[firstFailedHeader] : undefined;
    return typeof before === "string" ? before : new Date().toISOString();
  }

  /**
   * @returns why it is not to be handled once more: it comes back again and again from processes that end with it in hand, and soon
   *   the broker would drop it. Only quorum queues count that.
   */
  async tooManyDeliveries(message: Message): Promise<TooManyDeliveries | undefined> {
    const returns = claimedReturns(message);
    if (returns < maxReturns) return undefined;
    try {
      this.#countsReturns ??= await isQuorumQueue(this.#connection, this.#queue);
    } catch (error) {
      this.#logger.warn(
        { queue: this.#queue },
        `cannot tell whether this queue counts deliveries: ${messageOf(error)}`,
      );
    }
    // In a classic queue the header is whatever its sender wrote
    return this.#countsReturns === true ? new TooManyDeliveries(returns) : undefined;
  }

  /** Sends it to its delay queue, from where the broker returns it to this one subscriber, and acknowledges. */
  async retry(incoming: Incoming, { attempt, firstFailedAt }: Failures, delayMs: number): Promise<void> {
    const headers = this.#headersThatTravel(incoming.message);
    headers[attemptHeader] = attempt + 1;
    headers[firstFailedHeader] = firstFailedAt;
    await this.#move(incoming, delayQueue(this.#queue, delayMs), headers);
  }

  /** Sends it to `<queue>.dead` with the reason, and acknowledges. */
  async setAside(
    incoming: Incoming,
    { attempt, firstFailedAt }: Failures,
    { reason, error }: { reason: SetAsideReason; error: unknown },
  ): Promise<void> {
    const headers = {
      ...this.#headersThatTravel(incoming.message),
      [attemptHeader]: attempt,
      [firstFailedHeader]: firstFailedAt,
      "amqp-kit-last-failed-at": new Date().toISOString(),
      "amqp-kit-queue": this.#queue,
      "amqp-kit-service": this.#service,
      ...(this.#version !== undefined && { "amqp-kit-service-version": this.#version }),
      "amqp-kit-reason": reason,
      ...describe(error),
    };
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
        await this.#publishPatiently(movedOn(message, routingKey, travelling), abort.signal);
        incoming.ack();
        return;
      } catch (error) {
        if (abort.signal.aborted) return;
        if (!(error instanceof AmqpKitError) && travelling === headers) {
          // amqplib cannot write what it has read (its error quotes the value): then none of the sender's headers travel.
          travelling = ownHeaders(headers);
          continue;
        }
        this.#tellOfDelay(routingKey, messageOf(error));
        await sleep(pauseMs, undefined, { signal: abort.signal }).catch(() => undefined);
        await declareSubscription(this.#connection, this.#queue, this.#delaysMs).catch(() => undefined);
      }
    }
  }

  /** Whoever gives up on a confirm and publishes again makes a double, so that an alarm, or a slow broker, is waited for. */
  async #publishPatiently(outgoing: Outgoing, signal: AbortSignal): Promise<void> {
    const givenUp = new AbortController();
    let looks = 0;
    const look = setInterval(() => {
      if (!this.#connection.isBlocked) looks++;
      if (looks < mostLooks) {
        this.#tellOfDelay(outgoing.routingKey, "the broker has not confirmed it");
      } else {
        const why = `it was not confirmed within ${(looks * lookEveryMs) / 1000} s`;
        givenUp.abort(new ConnectionError(why, { retryable: true, outcome: "unknown" }));
      }
    }, lookEveryMs);
    try {
      await this.#publisher.publish(outgoing, new Deadline(maxTimerMs, AbortSignal.any([signal, givenUp.signal])));
    } finally {
      clearInterval(look);
    }
  }

  #tellOfDelay(queue: string, why: string): void {
    this.#logger.error({ queue }, `a failed message cannot be moved yet, and stays where it is: ${why}`);
  }

  #isOurs({ fields }: Message): boolean {
    return fields.exchange === failedExchange(this.#queue) && fields.routingKey === "again";
  }

  /** What the sender wrote under the kit's own names stays behind. */
  #headersThatTravel(message: Message): Record<string, unknown> {
    if (this.#isOurs(message)) return headersThatTravel(message);
    const all = Object.entries<unknown>(message.properties.headers ?? {});
    const headers = Object.fromEntries(all.filter(([name]) => !/^amqp-kit-/i.test(name)));
    return headersThatTravel({ properties: { ...message.properties, headers } });
  }
}

/** The same message on its way to another queue. */
export function movedOn(message: Message, routingKey: string, headers: Record<string, unknown>): Outgoing {
  return {
    messageId: shortText(message.properties.messageId),
    routingKey,
    body: message.content,
    properties: () => propertiesThatTravel(message, headers),
  };
}

/**
 * As they came, except what a broker acts upon: kept `CC` would put a copy into the main queue. Where they leave no room for the kit's
 * own, only the idempotency key travels.
 */
export function headersThatTravel({ properties }: Pick<Message, "properties">): Record<string, unknown> {
  const all = Object.entries<unknown>(properties.headers ?? {}).filter(
    ([name]) => !/^(x-.*|CC|BCC)$/i.test(name) && !isTooLong(name),
  );
  const headers = Object.fromEntries(all);
  if (sizeOf(headers) <= maxHeaderBytes - ownHeaderBytes) return headers;
  const key = shortText(headers["idempotency-key"]);
  return { ...(key !== undefined && { "idempotency-key": key }), "amqp-kit-headers-dropped": all.length };
}

/**
 * How often a message came back from whoever had it in hand, as the broker counts in quorum queues. From RabbitMQ 4.3 on a sender's
 * header of that name stands until the first return that counts; how often the message was handed out is always the broker's there.
 */
function claimedReturns({ fields, properties }: Message): number {
  if (!fields.redelivered) return 0;
  const returns = count(properties.headers?.["x-delivery-count"]) ?? 0;
  return Math.min(returns, count(properties.headers?.["x-acquired-count"]) ?? returns);
}

function count(value: unknown): number | undefined {
  return typeof value === "number" && Number.isSafeInteger(value) && value >= 0 ? value : undefined;
}

/** What the kit has written itself; a stranger may have used its names for anything. */
function ownHeaders(headers: Record<string, unknown>): Record<string, unknown> {
  const own = Object.entries(headers).filter(
    ([name, value]) => name.startsWith("amqp-kit-") && (typeof value === "string" || Number.isSafeInteger(value)),
  );
  return Object.fromEntries(own);
}

/** Bytes that are not UTF-8 take three when written again, and an AMQP short string holds 255. */
function isTooLong(value: unknown): boolean {
  return typeof value === "string" && Buffer.byteLength(value) > 255;
}

/** Kept `expiration` would empty the dead queue, kept `user_id` closes the channel. */
function propertiesThatTravel({ properties }: Message, headers: Record<string, unknown>): Options.Publish {
  const { contentType, contentEncoding, priority, correlationId, replyTo, type, appId } = properties;
  // amqplib reads any 64 bits, and writes no more than a safe integer
  const timestamp = count(properties.timestamp);
  const kept = { contentType, contentEncoding, priority, correlationId, replyTo, timestamp, type, appId };
  return {
    ...Object.fromEntries(Object.entries(kept).filter(([, value]) => value !== undefined && !isTooLong(value))),
    headers,
    deliveryMode: 2,
  };
}

/** Our own errors' sentences hold no values; of a foreign one only name and code are told, and nothing that another responder said. */
function describe(error: unknown): Record<string, string> {
  const isOurs = error instanceof AmqpKitError || error instanceof TooManyDeliveries;
  const isForeign = !isOurs || error instanceof RemoteError;
  const sentence = isForeign ? withoutValues(error).error : `${error.name}: ${error.message}`;
  const code = codeIn(error);
  const path = error instanceof InvalidMessageError ? (error.issues[0]?.path ?? "") : "";
  return {
    "amqp-kit-error": cut(sentence, maxErrorBytes),
    ...(code !== undefined && { "amqp-kit-error-code": code }),
    ...(path !== "" && { "amqp-kit-error-path": path }),
  };
}

function cut(sentence: string, maxBytes: number): string {
  return Buffer.from(sentence)
    .subarray(0, maxBytes)
    .toString()
    .replace(/\uFFFD+$/, "");
}

function shortText(value: unknown): string | undefined {
  return typeof value === "string" && !isTooLong(value) ? value : undefined;
}
