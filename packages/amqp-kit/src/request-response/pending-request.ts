import { randomUUID } from "node:crypto";
import type { Message } from "amqplib";
import type { Deadline } from "../broker/deadline.ts";
import type { Operation } from "../contract.ts";

/** One request between its call and its reply. */
export class PendingRequest {
  readonly operation: Operation;
  readonly deadline: Deadline;
  readonly correlationId = randomUUID();
  /** Settles with the reply, or with the error that ends the waiting. */
  readonly reply: Promise<Message>;
  readonly settle: (outcome: Message | Error) => void;
  /** The request was written to the broker. A connection that is lost before that does not concern it. */
  isSent = false;
  /** The broker has put the request into its queue. Until then only the publisher knows of it. */
  isConfirmed = false;

  constructor(operation: Operation, deadline: Deadline) {
    this.operation = operation;
    this.deadline = deadline;
    const { promise, resolve, reject } = Promise.withResolvers<Message>();
    // The request may end before anything waits for the reply.
    promise.catch(() => undefined);
    this.reply = promise;
    this.settle = (outcome) => (outcome instanceof Error ? reject(outcome) : resolve(outcome));
  }
}
