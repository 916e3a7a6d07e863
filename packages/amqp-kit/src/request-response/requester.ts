import { randomUUID } from "node:crypto";
import { setImmediate as nextTurn } from "node:timers/promises";
import type { ConsumeMessage, Message } from "amqplib";
import { replyCodeOf } from "../broker/channel.ts";
import type { Connection } from "../broker/connection.ts";
import { Consumer } from "../broker/consumer.ts";
import { Deadline } from "../broker/deadline.ts";
import { Publisher } from "../broker/publisher.ts";
import { canBeProven, declareReplyQueue, inspectQueue, proveNode } from "../broker/topology.ts";
import type { Input, Operation, Output } from "../contract.ts";
import {
  ClosedError,
  ConnectionError,
  NoResponderError,
  PublishError,
  RequestTimeoutError,
  TooManyRequestsError,
} from "../errors.ts";
import { decode } from "../messages/decode.ts";
import { encode } from "../messages/encode.ts";
import { messageIdOf, shortString, propertiesOf } from "../messages/properties.ts";
import { isProblem, readProblem, unreadableReply } from "./problem.ts";
import { emit } from "../telemetry/events.ts";
import { messageOf } from "../telemetry/log.ts";
import type { Logger } from "../telemetry/log.ts";

/** Idiom 3, request/response: one answer, a clear error when nobody is there to give it, and a time limit that both sides keep. */

const maxPending = 1_000;
/** A request that is not answered by then makes the requester look whether anybody is there. */
const firstLookMs = 100;
const lookEveryMs = 250;
/** An unconfirmed request whose channel was lost may have got through: so long its reply is waited for. */
const graceMs = 250;

export interface RequestOptions {
  /** Repeat it when asking again, so that the effect happens once. @default the message id, new with each call */
  idempotencyKey?: string;
  /** Whole budget in milliseconds, connecting included. @default the contract's */
  timeoutMs?: number;
  signal?: AbortSignal;
}

interface Pending {
  operation: Operation;
  /** Written to the broker; before that nothing that is lost concerns it. */
  isSent: boolean;
  /** In its queue, or beyond; until then only the publisher knows of it. */
  isConfirmed: boolean;
  settle: (reply: Message | Error) => void;
}

export class Requester {
  readonly #consuming: Connection;
  readonly #publishing: Connection;
  readonly #service: string;
  readonly #logger: Logger;
  readonly #replies: Consumer;
  readonly #publishers = new Map<string, Publisher>();
  readonly #pending = new Map<string, Pending>();
  #looking: NodeJS.Timeout | undefined;
  #onIdle: (() => void) | undefined;

  constructor(connections: { consuming: Connection; publishing: Connection }, service: string, logger: Logger) {
    this.#consuming = connections.consuming;
    this.#publishing = connections.publishing;
    this.#service = service;
    this.#logger = logger;
    this.#replies = new Consumer(this.#consuming, {
      name: "replies",
      prefetch: undefined,
      setUp: () => declareReplyQueue(this.#consuming),
      refresh: async (queue) => {
        if ((await inspectQueue(this.#consuming, queue)) === undefined)
          throw new Error(`the reply queue ${queue} is gone`);
        // Each may be connected to a node that is cut off from its cluster: there no answer arrives, or no request leaves
        const both = [this.#consuming, this.#publishing].filter((connection) => canBeProven(connection));
        await Promise.all(both.map(proveNode));
      },
      onMessage: ({ message }) => this.#onReply(message),
      // The reply queue went, and with it every answer that was on its way.
      onLost: (reason) => this.#failAll((operation) => replyQueueLost(operation, reason)),
      logger,
    });
  }

  get isReady(): boolean {
    return this.#replies.isConsuming;
  }

  async start(): Promise<void> {
    await this.#replies.start();
  }

  /**
   * Asks, and resolves with the responder's validated answer.
   * @throws {NoResponderError} within 500 ms {RequestTimeoutError} {OperationError} {InvalidMessageError} {MessageTooLargeError}
   *   {RemoteError} {ConnectionError} {PublishError} {TooManyRequestsError}; the signal's reason when it aborts
   */
  async request<O extends Operation>(
    operation: O,
    request: Input<O["request"]>,
    options: RequestOptions,
  ): Promise<Output<O["response"]>> {
    const timeoutMs = options.timeoutMs ?? operation.timeoutMs;
    const deadline = new Deadline(timeoutMs, options.signal);
    const body = encode(operation.name, operation.request, request);
    const headers =
      options.idempotencyKey === undefined
        ? {}
        : { "idempotency-key": shortString("idempotencyKey", options.idempotencyKey) };
    if (this.#pending.size >= maxPending) {
      // Whoever asks again at once would keep the answers away
      await nextTurn();
      throw new TooManyRequestsError(operation, maxPending);
    }

    const correlationId = randomUUID();
    const { promise: reply, resolve, reject } = Promise.withResolvers<Message>();
    reply.catch(() => undefined);
    const pending: Pending = {
      operation,
      isSent: false,
      isConfirmed: false,
      settle: (outcome) => (outcome instanceof Error ? reject(outcome) : resolve(outcome)),
    };
    // Registered before it is published: an answer may overtake the confirm.
    this.#pending.set(correlationId, pending);
    try {
      await this.#replies.whenConsuming(deadline, () => notSent(timeoutMs));
      // What is written to a blocked broker waits in its socket, unexpiring, and would be begun long after its time limit
      await this.#publishing.unblocked(deadline, () => notSent(timeoutMs));
      const messageId = messageIdOf(undefined);
      const properties = {
        ...propertiesOf(operation, this.#service, messageId),
        deliveryMode: 1,
        correlationId,
        headers,
      };
      const published = this.#publisher(operation.exchange)
        .publish(
          {
            messageId,
            routingKey: operation.name,
            body,
            properties: () => {
              if (!this.#pending.has(correlationId))
                throw new ClosedError("The request was given up before it was sent.");
              // As it is called now: it may have become another one while this waited to be sent
              const replyTo = this.#replies.queue;
              if (replyTo === undefined)
                throw new ConnectionError("Nothing was sent: the connection on which its reply would come was lost.", {
                  retryable: true,
                });
              pending.isSent = true;
              const expiresInMs = Math.max(1, Math.floor(deadline.remainingMs));
              emit("request-sent", { contract: operation.name, messageId, expiresInMs });
              return { ...properties, replyTo, expiration: expiresInMs };
            },
          },
          deadline,
        )
        .then(() => {
          pending.isConfirmed = true;
          this.#lookLater();
        });
      // The answer counts whatever became of the confirm; until it is there, a publish that failed is explained.
      const message = await deadline.race(
        Promise.race([
          reply,
          published.then(
            () => reply,
            (error: unknown) => this.#unpublished(operation, error, reply),
          ),
        ]),
        () => (pending.isSent ? new RequestTimeoutError(operation, timeoutMs, "unknown") : notSent(timeoutMs)),
      );
      return readReply(operation, message);
    } finally {
      this.#pending.delete(correlationId);
      if (this.#pending.size === 0) this.#onIdle?.();
    }
  }

  /** Resolves when no request is pending. */
  async idle(): Promise<void> {
    if (this.#pending.size === 0) return;
    const { promise, resolve } = Promise.withResolvers<void>();
    this.#onIdle = resolve;
    await promise;
  }

  async close(): Promise<void> {
    clearTimeout(this.#looking);
    this.#failAll(() => new ClosedError("The connection was closed before the answer came.", "unknown"));
    await this.#replies.stop();
    await Promise.all([...this.#publishers.values()].map((publisher) => publisher.close()));
  }

  #publisher(exchange: string): Publisher {
    const publisher = this.#publishers.get(exchange) ?? new Publisher(this.#publishing, exchange);
    this.#publishers.set(exchange, publisher);
    return publisher;
  }

  /** What a failed publish means to the caller. */
  async #unpublished(operation: Operation, error: unknown, reply: Promise<Message>): Promise<Message> {
    if (!(error instanceof PublishError)) throw error;
    if (error.reason === "unroutable") {
      throw new NoResponderError(
        operation,
        "not-executed",
        `no queue is bound to exchange "${operation.exchange}" under that key`,
      );
    }
    if (error.reason === "timeout") return reply;
    if (error.reason === "refused" || replyCodeOf(error.cause) === 403) throw error;
    const late = Promise.withResolvers<Message>();
    const timer = setTimeout(() => {
      const isExchangeGone = replyCodeOf(error.cause) === 404;
      late.reject(
        isExchangeGone
          ? new NoResponderError(operation, "unknown", `exchange "${operation.exchange}" does not exist`)
          : new ConnectionError(
              `The connection was lost while "${operation.name}" was asked. Repeat it under the same idempotency key.`,
              {
                retryable: true,
                outcome: "unknown",
                cause: error,
              },
            ),
      );
    }, graceMs);
    return Promise.race([reply, late.promise]).finally(() => clearTimeout(timer));
  }

  #onReply(message: ConsumeMessage): void {
    const pending = this.#pending.get(String(message.properties.correlationId));
    if (pending === undefined) {
      emit("reply-ignored", { service: this.#service });
      this.#logger.debug(
        { correlationId: message.properties.correlationId },
        "a reply that nobody waits for was ignored",
      );
      return;
    }
    this.#pending.delete(String(message.properties.correlationId));
    pending.settle(message);
  }

  /** Each gets an error of its own, whose stack shows its own caller. */
  #failAll(toError: (operation: Operation) => Error): void {
    for (const { operation, isSent, settle } of this.#pending.values()) if (isSent) settle(toError(operation));
  }

  #lookLater(delayMs = firstLookMs): void {
    this.#looking ??= setTimeout(() => void this.#look(), delayMs);
  }

  /** While answers are slow in coming: is anybody there? One look per operation, however many requests wait for it. */
  async #look(): Promise<void> {
    const slow = [...this.#pending.values()].filter(({ isConfirmed }) => isConfirmed);
    for (const [operation, requests] of Map.groupBy(slow, (pending) => pending.operation)) {
      try {
        const queue = await inspectQueue(this.#consuming, operation.name);
        for (const { settle } of abandoned(requests, queue)) {
          const why =
            queue === undefined
              ? "its queue vanished with the request in it"
              : "the request lies in a queue without consumers";
          settle(new NoResponderError(operation, "unknown", why));
        }
      } catch (error) {
        this.#logger.debug(
          { contract: operation.name },
          `cannot see whether a responder is there: ${messageOf(error)}`,
        );
      }
    }
    this.#looking = undefined;
    if (this.#pending.size > 0) this.#lookLater(lookEveryMs);
  }
}

function notSent(timeoutMs: number): ConnectionError {
  const why = "no connection to the broker, or it takes no more for now";
  return new ConnectionError(`Nothing was sent within ${timeoutMs} ms: there was ${why}.`, { retryable: true });
}

function replyQueueLost(operation: Operation, reason: Error): ConnectionError {
  return new ConnectionError(
    `The connection was lost while "${operation.name}" was asked: ${messageOf(reason)}. Repeat it under the same idempotency key.`,
    { retryable: true, outcome: "unknown", cause: reason },
  );
}

/**
 * A responder that is stopping has left its queue but still answers what it has in hand, so only what lies in the queue is abandoned:
 * as many as it holds, the newest, since a queue is first in, first out.
 */
function abandoned(
  requests: readonly Pending[],
  queue: { messageCount: number; consumerCount: number } | undefined,
): readonly Pending[] {
  if (queue === undefined) return requests;
  if (queue.consumerCount > 0 || queue.messageCount === 0) return [];
  return requests.slice(-queue.messageCount);
}

function readReply<O extends Operation>(operation: O, message: Message): Output<O["response"]> {
  if (isProblem(message)) throw readProblem(operation, message);
  try {
    return decode(operation.name, operation.response, {}, message);
  } catch (error) {
    throw unreadableReply(operation, error);
  }
}
