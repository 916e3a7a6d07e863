import { randomUUID } from "node:crypto";
import { setImmediate as nextTurn, setTimeout as sleep } from "node:timers/promises";
import type { ConsumeMessage, Message } from "amqplib";
import type { Connection } from "./connection.ts";
import { codeOf } from "./connection.ts";
import { Consumer } from "./consumer.ts";
import type { Incoming } from "./consumer.ts";
import type { Input, Operation, Output } from "./contract.ts";
import { Deadline, maxTimerMs } from "./deadline.ts";
import {
  ClosedError,
  ConnectionError,
  InvalidMessageError,
  MessageTooLargeError,
  NoResponderError,
  PublishError,
  RequestTimeoutError,
  TooManyRequestsError,
} from "./errors.ts";
import type { ArrivalClock } from "./event-loop.ts";
import { checkIdempotencyKey, decode, deliveryOf, encode, messageIdOf, propertiesOf, shortString } from "./message.ts";
import type { Delivery } from "./message.ts";
import { InvalidRequest, isProblem, problemFor, problemType, readProblem, unreadableReply } from "./problem.ts";
import { Publisher } from "./publisher.ts";
import { emit, told, withoutValues } from "./telemetry.ts";
import type { Logger } from "./telemetry.ts";
import { declareReplyQueue, declareRequestQueue, lookAtQueue, proveNode } from "./topology.ts";

/** Idiom 3, request/response: one answer, a clear error when nobody is there to give it, and a time limit that both sides keep. */

const maxPending = 1_000;
/** A request that is not answered by then makes the requester look whether anybody is there. */
const firstLookMs = 100;
const lookEveryMs = 250;
/** An unconfirmed request whose channel was lost may have got through: so long its reply is waited for. */
const graceMs = 250;
/** A reply gets at least so long, also when its request's time limit has all but passed. */
const minReplyMs = 1_000;
const replyPauseMs = 100;
const json = "application/json";

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
        if ((await lookAtQueue(this.#consuming, queue)) === undefined)
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
    return this.#replies.isStanding;
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
      await this.#replies.standing(deadline, () => notSent(timeoutMs));
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
    if (error.reason === "refused" || codeOf(error.cause) === 403) throw error;
    const late = Promise.withResolvers<Message>();
    const timer = setTimeout(() => {
      const isExchangeGone = codeOf(error.cause) === 404;
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
        const queue = await lookAtQueue(this.#consuming, operation.name);
        for (const { settle } of abandoned(requests, queue)) {
          const why =
            queue === undefined
              ? "its queue vanished with the request in it"
              : "the request lies in a queue without consumers";
          settle(new NoResponderError(operation, "unknown", why));
        }
      } catch (error) {
        this.#logger.debug({ contract: operation.name }, `cannot see whether a responder is there: ${told(error)}`);
      }
    }
    this.#looking = undefined;
    if (this.#pending.size > 0) this.#lookLater(lookEveryMs);
  }
}

/** Where there is another address to go on with. A blocked broker answers nothing, and need not. */
function canBeProven({ hasSeveral, isOpen, isBlocked }: Connection): boolean {
  return hasSeveral && isOpen && !isBlocked;
}

function notSent(timeoutMs: number): ConnectionError {
  const why = "no connection to the broker, or it takes no more for now";
  return new ConnectionError(`Nothing was sent within ${timeoutMs} ms: there was ${why}.`, { retryable: true });
}

function replyQueueLost(operation: Operation, reason: Error): ConnectionError {
  return new ConnectionError(
    `The connection was lost while "${operation.name}" was asked: ${told(reason)}. Repeat it under the same idempotency key.`,
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

export class Responder<O extends Operation> {
  readonly #operation: O;
  readonly #handler: (
    request: Output<O["request"]>,
    delivery: Delivery,
  ) => Input<O["response"]> | Promise<Input<O["response"]>>;
  readonly #service: string;
  readonly #replies: Publisher;
  readonly #clock: ArrivalClock;
  readonly #logger: Logger;
  readonly #consumer: Consumer;

  /** @param replies  publishes to the default exchange, over the publishing connection */
  constructor(
    { consuming, publishing }: { consuming: Connection; publishing: Connection },
    replies: Publisher,
    clock: ArrivalClock,
    operation: O,
    handler: (
      request: Output<O["request"]>,
      delivery: Delivery,
    ) => Input<O["response"]> | Promise<Input<O["response"]>>,
    options: { service: string; concurrency: number },
    logger: Logger,
  ) {
    this.#operation = operation;
    this.#handler = handler;
    this.#service = options.service;
    this.#replies = replies;
    this.#clock = clock;
    this.#logger = logger;
    const declare = (): Promise<void> => declareRequestQueue(consuming, operation);
    this.#consumer = new Consumer(consuming, {
      name: operation.name,
      // No more than it works on: what waits longer, waits in the queue, where it can expire.
      prefetch: options.concurrency,
      setUp: async () => {
        await declare();
        return operation.name;
      },
      refresh: async () => {
        await declare();
        // A node that is cut off from its cluster knows no new reply queue, and returns every reply
        if (canBeProven(publishing)) await declareRequestQueue(publishing, operation);
      },
      onMessage: (incoming) => this.#onRequest(incoming),
      logger,
    });
  }

  get isReady(): boolean {
    return this.#consumer.isStanding;
  }

  get unconfirmed(): readonly string[] {
    return [];
  }

  async start(): Promise<void> {
    await this.#consumer.start();
  }

  async stop(): Promise<void> {
    await this.#consumer.stop();
  }

  abort(reason: Error): void {
    this.#consumer.abort(reason);
  }

  async #onRequest(incoming: Incoming): Promise<void> {
    const { message, abort } = incoming;
    const contract = this.#operation.name;
    const messageId = deliveryOf(message, abort.signal).messageId;
    const replyTo = replyQueueOf(message);
    if (replyTo === undefined) {
      emit("request-refused", { contract, messageId });
      this.#logger.warn(
        { contract, messageId },
        "a request was refused: its reply_to is not a server-named reply queue",
      );
      incoming.ack();
      return;
    }
    const expirationMs = expirationOf(message);
    const expiresAt = expirationMs === undefined ? undefined : this.#clock.arrivedAt() + expirationMs;
    if (expiresAt !== undefined && expiresAt <= performance.now()) {
      // It may have waited in this process' socket while the process stood still. The broker knows whether it is in time.
      emit("request-returned", { contract, messageId });
      incoming.giveBack();
      return;
    }
    const limitAt = expiresAt ?? performance.now() + this.#operation.timeoutMs;
    const isOver = (): void => abort.abort(new Error("the request's time limit has passed"));
    const timeLimit = setTimeout(isOver, Math.min(limitAt - performance.now(), maxTimerMs));
    try {
      const reply = await this.#answer(incoming, expiresAt);
      await this.#send(reply, replyTo, incoming, limitAt);
    } finally {
      clearTimeout(timeLimit);
    }
  }

  async #answer({ message, abort }: Incoming, expiresAt: number | undefined): Promise<Reply> {
    const operation = this.#operation;
    const delivery = deliveryOf(message, abort.signal);
    const facts = { contract: operation.name, messageId: delivery.messageId };
    try {
      const request = decodeRequest(operation, message);
      emit("request-begun", { ...facts, expiresInMs: expiresAt && expiresAt - performance.now() });
      const response = await this.#handler(request, delivery);
      return { body: encode(operation.name, operation.response, response), contentType: json };
    } catch (error) {
      const problem = problemFor(operation, error);
      if (problem.code === "internal_error")
        this.#logger.error(
          { ...facts, ...withoutValues(error), ...(error instanceof InvalidMessageError && { issues: error.issues }) },
          "the handler failed; the requester gets a plain failure",
        );
      return { body: problem.body, contentType: problemType };
    }
  }

  /** The reply is confirmed before the request is acknowledged, so that a responder that dies hands over to the next. */
  async #send(reply: Reply, replyTo: string, incoming: Incoming, limitAt: number): Promise<void> {
    const { message } = incoming;
    const contract = this.#operation.name;
    const { correlationId } = message.properties;
    const messageId = messageIdOf(undefined);
    const properties = {
      ...propertiesOf(this.#operation, this.#service, messageId),
      contentType: reply.contentType,
      deliveryMode: 1,
      ...(typeof correlationId === "string" && Buffer.byteLength(correlationId) <= 255 && { correlationId }),
    };
    const outgoing = { messageId, routingKey: replyTo, body: reply.body, properties: () => properties };
    let firstFailure: unknown;
    for (const until = Math.max(limitAt, performance.now() + minReplyMs); ; await sleep(replyPauseMs)) {
      try {
        await this.#replies.publish(outgoing, new Deadline(Math.max(1, until - performance.now())));
        break;
      } catch (error) {
        firstFailure ??= error;
        const isRequesterGone = error instanceof PublishError && error.reason === "unroutable";
        if (!isRequesterGone && performance.now() < until && !(error instanceof ClosedError)) continue;
        // Not confirmed: another responder can answer it, or this one later. The broker knows whether it is in time.
        if (!isRequesterGone) {
          if (!(error instanceof ClosedError))
            this.#logger.warn(
              { contract },
              `a request is given back, its reply was not confirmed: ${told(firstFailure)}`,
            );
          return incoming.giveBack();
        }
        emit("reply-undeliverable", { contract, messageId: deliveryOf(message, incoming.abort.signal).messageId });
        this.#logger.warn({ contract }, `the reply could not be delivered: ${told(error)}`);
        break;
      }
    }
    incoming.ack();
  }
}

interface Reply {
  body: Buffer;
  contentType: string;
}

function decodeRequest<O extends Operation>(operation: O, message: Message): Output<O["request"]> {
  try {
    checkIdempotencyKey(operation.name, message);
    return decode(operation.name, operation.request, operation.decoders, message);
  } catch (error) {
    throw error instanceof InvalidMessageError || error instanceof MessageTooLargeError
      ? new InvalidRequest(error)
      : error;
  }
}

/** Any other name would let a request write into any queue that this service may write to. */
function replyQueueOf({ properties }: Message): string | undefined {
  const replyTo: unknown = properties.replyTo;
  return typeof replyTo === "string" && /^amq\.gen-[A-Za-z0-9_-]{1,64}$/.test(replyTo) ? replyTo : undefined;
}

/** The broker refuses anything but whole milliseconds. */
function expirationOf({ properties }: Message): number | undefined {
  return typeof properties.expiration === "string" && /^\d{1,10}$/.test(properties.expiration)
    ? Number(properties.expiration)
    : undefined;
}
