import { setTimeout as sleep } from "node:timers/promises";
import type { Message } from "amqplib";
import type { Connection } from "../broker/connection.ts";
import { Consumer } from "../broker/consumer.ts";
import type { Incoming } from "../broker/incoming.ts";
import { Deadline, maxTimerMs } from "../broker/deadline.ts";
import type { Outgoing, Publisher } from "../broker/publisher.ts";
import { shouldCheckNode, declareRequestQueue } from "../broker/topology.ts";
import type { Input, Operation, Output } from "../contract.ts";
import { ClosedError, InvalidMessageError, MessageTooLargeError, PublishError } from "../errors.ts";
import { decode } from "../messages/decode.ts";
import { checkIdempotencyKey, deliveryOf } from "../messages/delivery.ts";
import type { Delivery } from "../messages/delivery.ts";
import { encode } from "../messages/encode.ts";
import { maxShortString } from "../messages/limits.ts";
import { json, messageIdOf, propertiesOf } from "../messages/properties.ts";
import type { ArrivalClock } from "./arrival-clock.ts";
import { InvalidRequest, problemFor, problemType } from "./problem.ts";
import { emit } from "../telemetry/events.ts";
import { messageOf, withoutValues } from "../telemetry/log.ts";
import type { Logger } from "../telemetry/log.ts";

/** Idiom 3, request/response, the answering side: handles requests until their time limit, and acknowledges each after its reply is confirmed. */

/** Minimum time to publish a reply, even if its request's time limit is nearly over. */
const minReplyMs = 1_000;
const replyPauseMs = 100;

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
      // Only as many as are handled at a time: the others wait in the queue, where they can expire.
      prefetch: options.concurrency,
      setUp: async () => {
        await declare();
        return operation.name;
      },
      refresh: async () => {
        await declare();
        // A node that is cut off from its cluster does not know new reply queues, and returns every reply.
        if (shouldCheckNode(publishing)) await declareRequestQueue(publishing, operation);
      },
      onMessage: (incoming) => this.#onRequest(incoming),
      logger,
    });
  }

  get isReady(): boolean {
    return this.#consumer.isConsuming;
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
      this.#logger.warn({ contract, messageId }, "request refused: its reply_to is not a server-named queue");
      incoming.ack();
      return;
    }
    const expirationMs = expirationOf(message);
    const expiresAt = expirationMs === undefined ? undefined : this.#clock.arrivedAt() + expirationMs;
    if (expiresAt !== undefined && expiresAt <= performance.now()) {
      // It may have waited in the socket of this process while the process was stalled. The broker decides whether it has expired.
      emit("request-returned", { contract, messageId });
      incoming.requeue();
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
          "handler failed, requester answered with internal_error",
        );
      return { body: problem.body, contentType: problemType };
    }
  }

  /** The reply is confirmed before the request is acknowledged: if this process dies in between, another responder gets the request. */
  async #send(reply: Reply, replyTo: string, incoming: Incoming, limitAt: number): Promise<void> {
    const { message, abort } = incoming;
    const contract = this.#operation.name;
    const outcome = await this.#publishUntil(
      Math.max(limitAt, performance.now() + minReplyMs),
      this.#outgoing(reply, replyTo, message),
    );
    switch (outcome.kind) {
      case "confirmed":
        return incoming.ack();
      case "undeliverable":
        emit("reply-undeliverable", { contract, messageId: deliveryOf(message, abort.signal).messageId });
        this.#logger.warn({ contract, error: messageOf(outcome.error) }, "reply undeliverable");
        return incoming.ack();
      case "unconfirmed":
        // Another responder can answer it, or this one later. The broker expires it at its time limit.
        this.#logger.warn({ contract, error: messageOf(outcome.error) }, "reply not confirmed, request requeued");
        return incoming.requeue();
      case "closed":
        return incoming.requeue();
    }
  }

  #outgoing(reply: Reply, replyTo: string, request: Message): Outgoing {
    const { correlationId } = request.properties;
    const messageId = messageIdOf(undefined);
    const properties = {
      ...propertiesOf(this.#operation, this.#service, messageId),
      contentType: reply.contentType,
      deliveryMode: 1,
      ...(typeof correlationId === "string" && Buffer.byteLength(correlationId) <= maxShortString && { correlationId }),
    };
    return { messageId, routingKey: replyTo, body: reply.body, properties: () => properties };
  }

  /** Publishes again after a failure, until `endAt` by `performance.now()`. */
  async #publishUntil(endAt: number, outgoing: Outgoing): Promise<ReplyOutcome> {
    let firstFailure: unknown;
    for (;;) {
      try {
        await this.#replies.publish(outgoing, new Deadline(Math.max(1, endAt - performance.now())));
        return { kind: "confirmed" };
      } catch (error) {
        firstFailure ??= error;
        if (error instanceof PublishError && error.reason === "unroutable") return { kind: "undeliverable", error };
        if (error instanceof ClosedError) return { kind: "closed" };
        if (performance.now() >= endAt) return { kind: "unconfirmed", error: firstFailure };
      }
      await sleep(replyPauseMs);
    }
  }
}

interface Reply {
  body: Buffer;
  contentType: string;
}

type ReplyOutcome =
  | { kind: "confirmed" }
  /** The reply queue does not exist any more. */
  | { kind: "undeliverable"; error: unknown }
  | { kind: "unconfirmed"; error: unknown }
  /** The session was closed. */
  | { kind: "closed" };

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

/** Any other name would let a request write to every queue that this service may write to. */
function replyQueueOf({ properties }: Message): string | undefined {
  const replyTo: unknown = properties.replyTo;
  return typeof replyTo === "string" && /^amq\.gen-[A-Za-z0-9_-]{1,64}$/.test(replyTo) ? replyTo : undefined;
}

/** In milliseconds. The broker accepts only whole numbers. */
function expirationOf({ properties }: Message): number | undefined {
  return typeof properties.expiration === "string" && /^\d{1,10}$/.test(properties.expiration)
    ? Number(properties.expiration)
    : undefined;
}
