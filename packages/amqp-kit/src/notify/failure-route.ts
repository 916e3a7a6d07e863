import { setTimeout as sleep } from "node:timers/promises";
import type { Message } from "amqplib";
import type { Connection } from "../broker/connection.ts";
import type { Incoming } from "../broker/incoming.ts";
import { Deadline, maxTimerMs } from "../broker/deadline.ts";
import { Publisher } from "../broker/publisher.ts";
import type { Outgoing } from "../broker/publisher.ts";
import { declareSubscription, isQuorumQueue } from "../broker/topology.ts";
import { AmqpKitError, ConnectionError } from "../errors.ts";
import { deadQueue, delayQueue, failedExchange } from "../names.ts";
import { errorHeaders } from "./dead-letter.ts";
import type { DeadLetterReason } from "./dead-letter.ts";
import { claimedTooManyDeliveries } from "./delivery-count.ts";
import type { TooManyDeliveries } from "./delivery-count.ts";
import { forwarded, forwardedHeaders } from "./forward.ts";
import type { Failures } from "./retry.ts";
import { messageOf } from "../telemetry/log.ts";
import type { Logger } from "../telemetry/log.ts";

/**
 * Moves a message whose handler failed to a delay queue, where it waits for its next attempt, or to `<queue>.dead`. It is published,
 * confirmed, then acknowledged: a crash in between makes a duplicate, never a loss.
 */

const attemptHeader = "amqp-kit-attempt";
const firstFailedHeader = "amqp-kit-first-failed-at";

/** After this many reports of a missing confirm, the message is published again. Reports while the broker was blocked do not count. */
const maxReports = 6;
/** Pause before a failed publish is repeated. */
const pauseMs = 1_000;

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
   * @param connection  the publishing connection; it is opened when the first message fails
   * @param origin.delaysMs  the delay queues to declare
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

  /** The number of this attempt. The header counts only on messages that returned by the kit's own route: a sender could forge it. */
  attemptOf(message: Message): number {
    const attempt: unknown = this.#isOurs(message) ? message.properties.headers?.[attemptHeader] : undefined;
    return typeof attempt === "number" && Number.isSafeInteger(attempt) && attempt >= 1 ? attempt : 1;
  }

  /** When the first attempt failed: now, if this is the first attempt. */
  firstFailedAt(message: Message): string {
    const before: unknown = this.#isOurs(message) ? message.properties.headers?.[firstFailedHeader] : undefined;
    return typeof before === "string" ? before : new Date().toISOString();
  }

  /**
   * @returns an error if the message must not be handled again: too many processes ended while they handled it, and the broker would
   *   soon drop it. Only quorum queues count that.
   */
  async tooManyDeliveries(message: Message): Promise<TooManyDeliveries | undefined> {
    const claimed = claimedTooManyDeliveries(message);
    if (claimed === undefined) return undefined;
    try {
      this.#countsReturns ??= await isQuorumQueue(this.#connection, this.#queue);
    } catch (error) {
      this.#logger.warn({ queue: this.#queue, error: messageOf(error) }, "cannot determine the queue type");
    }
    // In a classic queue the header is what its sender wrote.
    return this.#countsReturns === true ? claimed : undefined;
  }

  /** Moves the message to its delay queue, from where the broker returns it to this subscriber only. */
  async retry(incoming: Incoming, { attempt, firstFailedAt }: Failures, delayMs: number): Promise<void> {
    const headers = this.#keptHeaders(incoming.message);
    headers[attemptHeader] = attempt + 1;
    headers[firstFailedHeader] = firstFailedAt;
    await this.#move(incoming, delayQueue(this.#queue, delayMs), headers);
  }

  /** Moves the message to `<queue>.dead`, with the reason in its headers. */
  async deadLetter(
    incoming: Incoming,
    { attempt, firstFailedAt }: Failures,
    { reason, error }: { reason: DeadLetterReason; error: unknown },
  ): Promise<void> {
    const headers = {
      ...this.#keptHeaders(incoming.message),
      [attemptHeader]: attempt,
      [firstFailedHeader]: firstFailedAt,
      "amqp-kit-last-failed-at": new Date().toISOString(),
      "amqp-kit-queue": this.#queue,
      "amqp-kit-service": this.#service,
      ...(this.#version !== undefined && { "amqp-kit-service-version": this.#version }),
      "amqp-kit-reason": reason,
      ...errorHeaders(error),
    };
    await this.#move(incoming, deadQueue(this.#queue), headers);
  }

  get unconfirmed(): string[] {
    return this.#publisher.unconfirmed;
  }

  async close(): Promise<void> {
    await this.#publisher.close();
  }

  /** Moves one message at a time: if the broker returns a message without an id, it is this one. */
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

  /** The message stays unacknowledged until another queue has confirmed it, or its channel is lost and the broker redelivers it. */
  async #publishUntilSafe(incoming: Incoming, routingKey: string, headers: Record<string, unknown>): Promise<void> {
    const { message, abort } = incoming;
    let sent = headers;
    while (!abort.signal.aborted) {
      try {
        await this.#publishPatiently(forwarded(message, routingKey, sent), abort.signal);
        incoming.ack();
        return;
      } catch (error) {
        if (abort.signal.aborted) return;
        if (!(error instanceof AmqpKitError) && sent === headers) {
          // amqplib cannot write a header that it has read (its error quotes the value). Then none of the sender's headers are kept.
          sent = ownHeaders(headers);
          continue;
        }
        this.#reportDelay(routingKey, messageOf(error));
        await sleep(pauseMs, undefined, { signal: abort.signal }).catch(() => undefined);
        await declareSubscription(this.#connection, this.#queue, this.#delaysMs).catch(() => undefined);
      }
    }
  }

  /** Waits long for the confirm, even during a broker alarm: publishing again makes a duplicate. */
  async #publishPatiently(outgoing: Outgoing, signal: AbortSignal): Promise<void> {
    const { confirmReportMs } = this.#connection.intervals;
    const givenUp = new AbortController();
    let reports = 0;
    const report = setInterval(() => {
      if (!this.#connection.isBlocked) reports++;
      if (reports < maxReports) {
        this.#reportDelay(outgoing.routingKey, "the broker has not confirmed it");
      } else {
        const why = `it was not confirmed within ${(reports * confirmReportMs) / 1000} s`;
        givenUp.abort(new ConnectionError(why, { retryable: true, outcome: "unknown" }));
      }
    }, confirmReportMs);
    try {
      await this.#publisher.publish(outgoing, new Deadline(maxTimerMs, AbortSignal.any([signal, givenUp.signal])));
    } finally {
      clearInterval(report);
    }
  }

  #reportDelay(queue: string, why: string): void {
    this.#logger.error({ queue, reason: why }, "cannot move a failed message yet");
  }

  #isOurs({ fields }: Message): boolean {
    return fields.exchange === failedExchange(this.#queue) && fields.routingKey === "again";
  }

  /** Headers with the kit's names that a sender wrote are not kept. */
  #keptHeaders(message: Message): Record<string, unknown> {
    if (this.#isOurs(message)) return forwardedHeaders(message);
    const all = Object.entries<unknown>(message.properties.headers ?? {});
    const headers = Object.fromEntries(all.filter(([name]) => !/^amqp-kit-/i.test(name)));
    return forwardedHeaders({ properties: { ...message.properties, headers } });
  }
}

/** The headers that the kit has written itself. A sender may have used the kit's names for anything. */
function ownHeaders(headers: Record<string, unknown>): Record<string, unknown> {
  const own = Object.entries(headers).filter(
    ([name, value]) => name.startsWith("amqp-kit-") && (typeof value === "string" || Number.isSafeInteger(value)),
  );
  return Object.fromEntries(own);
}
