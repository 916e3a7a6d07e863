import { setTimeout as sleep } from "node:timers/promises";
import type { Connection } from "../broker/connection.ts";
import { Consumer } from "../broker/consumer.ts";
import type { Incoming } from "../broker/incoming.ts";
import { bindSubscription, declareSubscription } from "../broker/topology.ts";
import type { Notification, Output } from "../contract.ts";
import { MessageTooLargeError, Reject, RetryLater } from "../errors.ts";
import { decode } from "../messages/decode.ts";
import { deliveryOf } from "../messages/delivery.ts";
import type { Delivery } from "../messages/delivery.ts";
import { subscriptionQueue } from "../names.ts";
import { Availability } from "./availability.ts";
import type { DeadLetterReason } from "./dead-letter.ts";
import { isSuspect } from "./delivery-count.ts";
import { FailureRoute } from "./failure-route.ts";
import { delayAfter } from "./retry.ts";
import type { Failures } from "./retry.ts";
import { emit } from "../telemetry/events.ts";
import { withoutValues } from "../telemetry/log.ts";
import type { Logger } from "../telemetry/log.ts";

/** Idiom 2, notify, the receiving side: acknowledges a message that was handled; retries or dead-letters one that failed. */

export interface SubscriberOptions {
  service: string;
  version: string | undefined;
  concurrency: number;
  retryDelaysMs: readonly number[];
  /** A failed message stays unacknowledged, and the messages behind it wait. */
  isRetriedInPlace: boolean;
  isAvailable: (() => Promise<boolean>) | undefined;
}

/** The state of a message that is retried in place: its attempts continue if it is redelivered after a lost connection or an outage. */
interface Kept extends Failures {
  messageId: string | undefined;
  /** Compared with the body of a redelivered message, since a message may have no id. */
  body: Buffer;
  /** When its next attempt is due, by `performance.now()` */
  dueAt: number;
}

/** `retry-here`: the message is still in flight, and its next attempt is due. */
type AttemptOutcome = "settled" | "retry-here";

export class Subscriber<C extends Notification> {
  readonly #contract: C;
  readonly #handler: (message: Output<C["message"]>, delivery: Delivery) => unknown;
  readonly #options: SubscriberOptions;
  readonly #logger: Logger;
  readonly #consumer: Consumer;
  readonly #failures: FailureRoute;
  readonly #availability: Availability | undefined;
  readonly #stopping = new AbortController();
  #kept: Kept | undefined;
  #isBound: boolean | undefined;

  constructor(
    connections: { consuming: Connection; publishing: Connection },
    contract: C,
    handler: (message: Output<C["message"]>, delivery: Delivery) => unknown,
    options: SubscriberOptions,
    logger: Logger,
  ) {
    const { consuming, publishing } = connections;
    const { service, version, concurrency, isAvailable } = options;
    const queue = subscriptionQueue(contract, service);
    const delaysMs = options.isRetriedInPlace ? [] : options.retryDelaysMs;
    this.#contract = contract;
    this.#handler = handler;
    this.#options = options;
    this.#logger = logger;
    this.#failures = new FailureRoute(publishing, { queue, service, version, delaysMs }, logger);
    this.#consumer = new Consumer(consuming, {
      name: queue,
      prefetch: concurrency,
      isSuspect,
      setUp: async () => {
        await this.#declareAndBind(consuming, queue, delaysMs);
        return queue;
      },
      refresh: () => this.#declareAndBind(consuming, queue, delaysMs),
      onMessage: (incoming) => this.#handle(incoming),
      logger,
    });
    if (isAvailable !== undefined) this.#availability = this.#watch(isAvailable, consuming);
  }

  /** Whether it consumes, is bound, and is not paused. Before the notifier's first start there is no exchange to bind to. */
  get isReady(): boolean {
    return this.#consumer.isConsuming && this.#isBound === true && this.#availability?.isPaused !== true;
  }

  get unconfirmed(): readonly string[] {
    return this.#failures.unconfirmed;
  }

  async start(): Promise<void> {
    await this.#consumer.start();
  }

  async stop(): Promise<void> {
    this.#stopping.abort();
    await this.#consumer.stop();
    await this.#failures.close();
  }

  abort(reason: Error): void {
    this.#consumer.abort(reason);
  }

  async #declareAndBind(consuming: Connection, queue: string, delaysMs: readonly number[]): Promise<void> {
    await declareSubscription(consuming, queue, delaysMs);
    const isBound = await bindSubscription(consuming, this.#contract, queue);
    if (isBound !== this.#isBound) {
      const text = isBound ? "bound to the notifier's exchange" : "the notifier's exchange does not exist yet";
      this.#logger.info({ contract: this.#contract.name, refreshMs: consuming.intervals.refreshMs }, text);
    }
    this.#isBound = isBound;
  }

  #watch(isAvailable: () => Promise<boolean>, consuming: Connection): Availability {
    const contract = this.#contract.name;
    return new Availability({
      isAvailable,
      answerTimeoutMs: consuming.intervals.availabilityTimeoutMs,
      consumer: this.#consumer,
      signal: this.#stopping.signal,
      onPaused: () => {
        emit("paused", { contract });
        this.#logger.warn({ contract }, "subscription paused: a dependency is unavailable");
      },
      onResumed: (pausedMs) => {
        emit("resumed", { contract, pausedMs });
        this.#logger.info({ contract, pausedMs }, "subscription resumed");
      },
    });
  }

  async #handle(incoming: Incoming): Promise<void> {
    const { message } = incoming;
    const kept = this.#keptFrom(message);
    this.#kept = kept;
    const attempt = kept?.attempt ?? this.#failures.attemptOf(message);
    const tooMany = await this.#failures.tooManyDeliveries(message);
    if (tooMany !== undefined) {
      await this.#deadLetter(incoming, attempt, "too_many_deliveries", tooMany);
      return;
    }
    if (kept !== undefined && !(await this.#untilDue(incoming, kept))) return;
    await this.#attemptUntilSettled(incoming, attempt);
  }

  async #attemptUntilSettled(incoming: Incoming, firstAttempt: number): Promise<void> {
    let attempt = firstAttempt;
    let outcome = await this.#attempt(incoming, attempt);
    while (outcome === "retry-here") {
      attempt += 1;
      outcome = await this.#attempt(incoming, attempt);
    }
  }

  async #attempt(incoming: Incoming, attempt: number): Promise<AttemptOutcome> {
    const { message, abort } = incoming;
    const { name, message: schema, decoders } = this.#contract;
    let content: Output<C["message"]>;
    try {
      content = decode(name, schema, decoders, message);
    } catch (error) {
      const reason = error instanceof MessageTooLargeError ? "message_too_large" : "invalid_message";
      await this.#deadLetter(incoming, attempt, reason, error);
      return "settled";
    }
    const begunAt = performance.now();
    try {
      await this.#handler(content, deliveryOf(message, abort.signal, attempt));
    } catch (error) {
      return this.#onError(incoming, attempt, error, begunAt);
    }
    incoming.ack();
    return "settled";
  }

  async #onError(incoming: Incoming, attempt: number, error: unknown, begunAt: number): Promise<AttemptOutcome> {
    // A handler that gives up because its delivery is lost has not failed: the broker redelivers the message.
    if (incoming.abort.signal.aborted) return "settled";
    const isDecision = error instanceof RetryLater || error instanceof Reject;
    if (!isDecision && (await this.#availability?.isOutage(begunAt)) === true) {
      await this.#availability?.pause(begunAt);
      this.#requeueUncounted(incoming, attempt, error);
      return "settled";
    }
    return this.#onFailure(incoming, attempt, error);
  }

  #requeueUncounted(incoming: Incoming, attempt: number, error: unknown): void {
    const contract = this.#contract.name;
    const { messageId } = deliveryOf(incoming.message, incoming.abort.signal);
    const text = "handler failed in an outage: message requeued, attempt not counted";
    this.#logger.info({ contract, messageId, attempt, ...withoutValues(error) }, text);
    this.#keep(incoming, attempt, 0);
    incoming.requeue();
  }

  async #onFailure(incoming: Incoming, attempt: number, error: unknown): Promise<AttemptOutcome> {
    const { message, abort } = incoming;
    const contract = this.#contract.name;
    const { messageId } = deliveryOf(message, abort.signal);
    const delayMs = delayAfter(attempt, error, this.#options.retryDelaysMs);
    this.#logger.warn({ contract, messageId, attempt, delayMs, ...withoutValues(error) }, "handler failed");
    if (delayMs === undefined) {
      await this.#deadLetter(incoming, attempt, error instanceof Reject ? "rejected" : "handler_failed", error);
      return "settled";
    }
    const retried = { contract, messageId, attempt, delayMs };
    if (this.#options.isRetriedInPlace) {
      emit("retried", retried);
      const isDue = await this.#untilDue(incoming, this.#keep(incoming, attempt + 1, delayMs));
      return isDue ? "retry-here" : "settled";
    }
    await this.#failures.retry(incoming, { attempt, firstFailedAt: this.#firstFailedAt(message) }, delayMs);
    if (!abort.signal.aborted) emit("retried", retried);
    return "settled";
  }

  /** Returns the state that this process kept for a message that was in flight when its connection was lost. Another process starts with the first attempt. */
  #keptFrom({ fields, properties, content }: Incoming["message"]): Kept | undefined {
    const kept = this.#kept;
    const isSame = fields.redelivered && kept?.messageId === properties.messageId && kept?.body.equals(content);
    return isSame === true ? kept : undefined;
  }

  #keep({ message }: Incoming, attempt: number, delayMs: number): Kept {
    const { messageId } = message.properties;
    const firstFailedAt = this.#firstFailedAt(message);
    const kept = { messageId, body: message.content, attempt, firstFailedAt, dueAt: performance.now() + delayMs };
    if (this.#options.isRetriedInPlace) this.#kept = kept;
    return kept;
  }

  #firstFailedAt(message: Incoming["message"]): string {
    return this.#kept?.firstFailedAt ?? this.#failures.firstFailedAt(message);
  }

  /** Holds the message, and so the messages behind it, until its next attempt is due. @returns false if it was lost or requeued */
  async #untilDue(incoming: Incoming, { dueAt }: Kept): Promise<boolean> {
    const ended = AbortSignal.any([incoming.abort.signal, this.#stopping.signal]);
    await sleep(Math.max(0, dueAt - performance.now()), undefined, { signal: ended }).catch(() => undefined);
    if (ended.aborted) incoming.requeue();
    return !ended.aborted;
  }

  async #deadLetter(incoming: Incoming, attempt: number, reason: DeadLetterReason, error: unknown): Promise<void> {
    const { message, abort } = incoming;
    const { messageId } = deliveryOf(message, abort.signal);
    const failures = { attempt, firstFailedAt: this.#firstFailedAt(message) };
    await this.#failures.deadLetter(incoming, failures, { reason, error });
    if (abort.signal.aborted) return;
    const facts = { contract: this.#contract.name, messageId, reason };
    emit("dead-lettered", facts);
    this.#logger.error(facts, "message dead-lettered");
  }
}
