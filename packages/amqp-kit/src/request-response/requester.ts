import { setImmediate as nextTurn } from "node:timers/promises";
import type { ConsumeMessage, Message, Options } from "amqplib";
import type { Connection } from "../broker/connection.ts";
import { Consumer } from "../broker/consumer.ts";
import { Deadline } from "../broker/deadline.ts";
import { Publisher } from "../broker/publisher.ts";
import { shouldCheckNode, declareReplyQueue, inspectQueue, checkNodeCanChange } from "../broker/topology.ts";
import type { Input, Operation, Output } from "../contract.ts";
import { ClosedError, RequestTimeoutError, TooManyRequestsError } from "../errors.ts";
import { decode } from "../messages/decode.ts";
import { encode } from "../messages/encode.ts";
import { messageIdOf, shortString, propertiesOf } from "../messages/properties.ts";
import { explainFailedPublish, noConnectionForReply, notSent, replyQueueLost } from "./failures.ts";
import { PendingRequest } from "./pending-request.ts";
import { isProblem, readProblem, unreadableReply } from "./problem.ts";
import { ResponderCheck } from "./responder-check.ts";
import { emit } from "../telemetry/events.ts";
import type { Logger } from "../telemetry/log.ts";

/** Idiom 3, request/response, the asking side: one answer or a clear error, within a time limit that both sides keep. */

const maxPending = 1_000;

/** Time for a reply to arrive after the channel of its unconfirmed request was lost. */
const graceMs = 250;

export interface RequestOptions {
  /**
   * Identifies the effect. Repeat a failed request with the same key: a responder that stores the key lets the request take effect once.
   * 1 to 255 bytes.
   * @default the message id, which is new for each call
   */
  idempotencyKey?: string;
  /** Time limit of the whole call in milliseconds, including the wait for a connection. @default the contract's `timeoutMs` */
  timeoutMs?: number;
  /** Ends the wait: the call rejects with the signal's reason. A request that was sent may still be executed. @default none */
  signal?: AbortSignal;
}

export class Requester {
  readonly #consuming: Connection;
  readonly #publishing: Connection;
  readonly #service: string;
  readonly #logger: Logger;
  readonly #replies: Consumer;
  readonly #publishers = new Map<string, Publisher>();
  /** By correlation id. */
  readonly #pending = new Map<string, PendingRequest>();
  readonly #responderCheck: ResponderCheck;
  #onIdle: (() => void) | undefined;

  constructor(connections: { consuming: Connection; publishing: Connection }, service: string, logger: Logger) {
    this.#consuming = connections.consuming;
    this.#publishing = connections.publishing;
    this.#service = service;
    this.#logger = logger;
    this.#responderCheck = new ResponderCheck(this.#consuming, this.#pending, logger);
    this.#replies = new Consumer(this.#consuming, {
      name: "replies",
      prefetch: undefined,
      setUp: () => declareReplyQueue(this.#consuming),
      refresh: (queue) => this.#refresh(queue),
      onMessage: ({ message }) => this.#onReply(message),
      // The reply queue is lost, and with it every reply that was on its way.
      onLost: (reason) => this.#failSent((operation) => replyQueueLost(operation, reason)),
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
   * Sends a request and resolves with the responder's validated answer.
   * @throws {NoResponderError} within 500 ms {RequestTimeoutError} {OperationError} {InvalidMessageError} {MessageTooLargeError}
   *   {RemoteError} {ConnectionError} {PublishError} {TooManyRequestsError}; the signal's reason when it aborts
   */
  async request<O extends Operation>(
    operation: O,
    request: Input<O["request"]>,
    options: RequestOptions,
  ): Promise<Output<O["response"]>> {
    const deadline = new Deadline(options.timeoutMs ?? operation.timeoutMs, options.signal);
    const body = encode(operation.name, operation.request, request);
    const headers = headersOf(options);
    if (this.#pending.size >= maxPending) {
      // Yields to the event loop: a caller in a tight loop must not keep the replies from arriving.
      await nextTurn();
      throw new TooManyRequestsError(operation, maxPending);
    }
    const pending = new PendingRequest(operation, deadline);
    const { correlationId } = pending;
    // Registered before it is published: a reply may overtake the confirm.
    this.#pending.set(correlationId, pending);
    try {
      await this.#untilSendable(deadline);
      const published = this.#publish(pending, body, headers);
      const reply = await this.#replyTo(pending, published);
      return readReply(operation, reply);
    } finally {
      this.#pending.delete(correlationId);
      if (this.#pending.size === 0) this.#onIdle?.();
    }
  }

  async #untilSendable(deadline: Deadline): Promise<void> {
    const expired = (): Error => notSent(deadline.timeoutMs);
    await this.#replies.whenConsuming(deadline, expired);
    // A request to a blocked broker would wait in the socket, where it does not expire, and be executed long after its time limit.
    await this.#publishing.unblocked(deadline, expired);
  }

  /** Resolves once the broker has confirmed the request. */
  async #publish(pending: PendingRequest, body: Buffer, headers: Record<string, string>): Promise<void> {
    const { operation, correlationId, deadline } = pending;
    const messageId = messageIdOf(undefined);
    const fixed = { ...propertiesOf(operation, this.#service, messageId), deliveryMode: 1, correlationId, headers };
    const properties = (): Options.Publish => {
      const replyTo = this.#checkSendable(pending);
      pending.isSent = true;
      const expiresInMs = Math.max(1, Math.floor(deadline.remainingMs));
      emit("request-sent", { contract: operation.name, messageId, expiresInMs });
      return { ...fixed, replyTo, expiration: expiresInMs };
    };
    const publisher = this.#publisher(operation.exchange);
    await publisher.publish({ messageId, routingKey: operation.name, body, properties }, deadline);
    pending.isConfirmed = true;
    this.#responderCheck.start();
  }

  /**
   * Called when the request is about to be written, which may be long after the call.
   * @returns the current reply queue; a reconnect may have replaced it
   */
  #checkSendable({ correlationId }: PendingRequest): string {
    if (!this.#pending.has(correlationId))
      throw new ClosedError("The caller stopped waiting before the request was sent.");
    const replyTo = this.#replies.queue;
    if (replyTo === undefined) throw noConnectionForReply();
    return replyTo;
  }

  /** The reply counts even if the publish has failed. Until the reply arrives, a failed publish may end the request. */
  async #replyTo(pending: PendingRequest, published: Promise<void>): Promise<Message> {
    const { operation, deadline, reply } = pending;
    const afterPublish = published.then(
      () => reply,
      (error: unknown) => this.#replyAfterFailedPublish(pending, error),
    );
    return deadline.race(Promise.race([reply, afterPublish]), () =>
      pending.isSent ? new RequestTimeoutError(operation, deadline.timeoutMs, "unknown") : notSent(deadline.timeoutMs),
    );
  }

  async #replyAfterFailedPublish(pending: PendingRequest, cause: unknown): Promise<Message> {
    const failed = explainFailedPublish(pending.operation, cause);
    if (failed.reply === "impossible") throw failed.error;
    if (failed.reply === "expected") return pending.reply;
    return new Deadline(graceMs).race(pending.reply, () => failed.error);
  }

  /** Resolves when no request is pending. */
  async idle(): Promise<void> {
    if (this.#pending.size === 0) return;
    const { promise, resolve } = Promise.withResolvers<void>();
    this.#onIdle = resolve;
    await promise;
  }

  async close(): Promise<void> {
    this.#responderCheck.stop();
    this.#failSent(() => new ClosedError("The connection was closed before the request was answered.", "unknown"));
    await this.#replies.stop();
    await Promise.all([...this.#publishers.values()].map((publisher) => publisher.close()));
  }

  #publisher(exchange: string): Publisher {
    const publisher = this.#publishers.get(exchange) ?? new Publisher(this.#publishing, exchange);
    this.#publishers.set(exchange, publisher);
    return publisher;
  }

  async #refresh(queue: string): Promise<void> {
    if ((await inspectQueue(this.#consuming, queue)) === undefined)
      throw new Error(`the reply queue ${queue} does not exist`);
    // Either connection may lead to a node that is cut off from its cluster: then no reply arrives, or no request is routed.
    const both = [this.#consuming, this.#publishing].filter((connection) => shouldCheckNode(connection));
    await Promise.all(both.map(checkNodeCanChange));
  }

  #onReply(message: ConsumeMessage): void {
    const pending = this.#pending.get(String(message.properties.correlationId));
    if (pending === undefined) {
      emit("reply-ignored", { service: this.#service });
      this.#logger.debug(
        { correlationId: message.properties.correlationId },
        "reply without a pending request ignored",
      );
      return;
    }
    this.#pending.delete(String(message.properties.correlationId));
    pending.settle(message);
  }

  /** Each request gets an error of its own, whose stack shows its own caller. */
  #failSent(toError: (operation: Operation) => Error): void {
    for (const { operation, isSent, settle } of this.#pending.values()) if (isSent) settle(toError(operation));
  }
}

function headersOf({ idempotencyKey }: RequestOptions): Record<string, string> {
  return idempotencyKey === undefined ? {} : { "idempotency-key": shortString("idempotencyKey", idempotencyKey) };
}

function readReply<O extends Operation>(operation: O, message: Message): Output<O["response"]> {
  if (isProblem(message)) throw readProblem(operation, message);
  try {
    return decode(operation.name, operation.response, {}, message);
  } catch (error) {
    throw unreadableReply(operation, error);
  }
}
