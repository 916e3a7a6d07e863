import { brand } from "./brand.ts";
import type { ErrorDetails, ErrorName, Operation } from "./contract.ts";

/**
 * One class per situation that a caller treats differently. `code` is stable; docs/errors.md says what to do about each.
 * No error contains a body or a value of one (bodies contain patients), nor a URL (it contains a password).
 */

export type AmqpKitErrorCode =
  | "AMQP_KIT_USAGE"
  | "AMQP_KIT_CLOSED"
  | "AMQP_KIT_CONNECTION"
  | "AMQP_KIT_TOPOLOGY"
  | "AMQP_KIT_INVALID_MESSAGE"
  | "AMQP_KIT_MESSAGE_TOO_LARGE"
  | "AMQP_KIT_PUBLISH"
  | "AMQP_KIT_NO_RESPONDER"
  | "AMQP_KIT_REQUEST_TIMEOUT"
  | "AMQP_KIT_TOO_MANY_REQUESTS"
  | "AMQP_KIT_OPERATION"
  | "AMQP_KIT_REMOTE"
  | "AMQP_KIT_RETRY_LATER"
  | "AMQP_KIT_REJECT";

/** `"not-executed"`: certainly nothing happened. `"unknown"`: it may have happened; repeat it under the same idempotency key or message id. */
export type Outcome = "not-executed" | "unknown";

/** The base class of all errors of the kit. Match `code`, which is stable. */
export class AmqpKitError extends Error {
  readonly code: AmqpKitErrorCode;
  /** Whether the same call may succeed later without a change by a person. */
  readonly retryable: boolean;

  constructor(code: AmqpKitErrorCode, message: string, retryable: boolean, cause?: unknown) {
    super(message, cause === undefined ? undefined : { cause });
    this.name = new.target.name;
    this.code = code;
    this.retryable = retryable;
  }
}

/** The program uses a contract that its system does not list for it, an unknown option or an invalid value. */
export class UsageError extends AmqpKitError {
  constructor(message: string) {
    super("AMQP_KIT_USAGE", message, false);
  }
}

/** The call came after `close`, or `close` ended it. */
export class ClosedError extends AmqpKitError {
  readonly outcome: Outcome;
  constructor(message: string, outcome: Outcome = "not-executed") {
    super("AMQP_KIT_CLOSED", message, false);
    this.outcome = outcome;
  }
}

/** There is no connection: not yet, not any more, or (if not retryable) never with these settings. */
export class ConnectionError extends AmqpKitError {
  readonly outcome: Outcome;
  constructor(message: string, facts: { retryable: boolean; outcome?: Outcome; cause?: unknown }) {
    super("AMQP_KIT_CONNECTION", message, facts.retryable, facts.cause);
    this.outcome = facts.outcome ?? "not-executed";
  }
}

/** An exchange or queue of that name exists with different arguments, or this user may not declare it. */
export class TopologyError extends AmqpKitError {
  constructor(message: string, cause?: unknown) {
    super("AMQP_KIT_TOPOLOGY", message, false, cause);
  }
}

const maxShownIssues = 5;

/** Where a message breaks which rule, never the value. Only zod's rules are quoted, since the messages of other libraries quote values. */
export interface Issue {
  /** Field names and indexes from the root, joined by dots; empty for the message as a whole. */
  readonly path: string;
  readonly rule: string;
}

/** The message does not match its contract's schema, or cannot be read at all. `issues` are the first hundred. */
export class InvalidMessageError extends AmqpKitError {
  readonly contract: string;
  readonly issues: readonly Issue[];
  constructor(contract: string, issues: readonly Issue[]) {
    const shown = issues.slice(0, maxShownIssues).map(({ path, rule }) => (path === "" ? rule : `${path}: ${rule}`));
    if (issues.length > shown.length) shown.push(`and ${issues.length - shown.length} more`);
    super("AMQP_KIT_INVALID_MESSAGE", `Message of "${contract}" is not valid: ${shown.join("; ")}.`, false);
    this.contract = contract;
    this.issues = issues;
  }
}

/** Body or headers are over the limit. Nothing was sent. */
export class MessageTooLargeError extends AmqpKitError {
  readonly contract: string;
  readonly bytes: number;
  readonly maxBytes: number;
  constructor(contract: string, part: "body" | "headers", bytes: number, maxBytes: number) {
    super(
      "AMQP_KIT_MESSAGE_TOO_LARGE",
      `The ${part} of a message of "${contract}" takes ${bytes} bytes; the limit is ${maxBytes}. Send a reference to the data instead.`,
      false,
    );
    this.contract = contract;
    this.bytes = bytes;
    this.maxBytes = maxBytes;
  }
}

export type PublishFailure = "unroutable" | "refused" | "timeout" | "channel-lost";

/** The broker did not confirm a message. If `outcome` is `"unknown"`, it may have the message: send it again under the same message id. */
export class PublishError extends AmqpKitError {
  readonly reason: PublishFailure;
  readonly outcome: Outcome;
  readonly exchange: string;
  readonly routingKey: string;
  readonly messageId: string | undefined;
  constructor(
    message: string,
    facts: {
      reason: PublishFailure;
      exchange: string;
      routingKey: string;
      messageId: string | undefined;
      cause?: unknown;
    },
  ) {
    super("AMQP_KIT_PUBLISH", message, true, facts.cause);
    this.reason = facts.reason;
    this.outcome = facts.reason === "unroutable" ? "not-executed" : "unknown";
    this.exchange = facts.exchange;
    this.routingKey = facts.routingKey;
    this.messageId = facts.messageId;
  }
}

/** The operation has no responder now. */
export class NoResponderError extends AmqpKitError {
  readonly contract: string;
  readonly exchange: string;
  readonly outcome: Outcome;
  constructor(operation: Operation, outcome: Outcome, why: string) {
    super(
      "AMQP_KIT_NO_RESPONDER",
      `No responder for "${operation.name}": ${why}. Start a responder on this virtual host, or repeat the request later.`,
      true,
    );
    this.contract = operation.name;
    this.exchange = operation.exchange;
    this.outcome = outcome;
  }
}

/** No answer arrived within the time limit. The request may have been executed: repeat it under the same idempotency key. */
export class RequestTimeoutError extends AmqpKitError {
  readonly contract: string;
  readonly timeoutMs: number;
  readonly outcome: Outcome;
  constructor(operation: Operation, timeoutMs: number, outcome: Outcome) {
    super(
      "AMQP_KIT_REQUEST_TIMEOUT",
      `No answer to "${operation.name}" within ${timeoutMs} ms. It may have been executed: repeat it under the same idempotency key.`,
      true,
    );
    this.contract = operation.name;
    this.timeoutMs = timeoutMs;
    this.outcome = outcome;
  }
}

/** This process has the maximum number of pending requests. Nothing was sent. */
export class TooManyRequestsError extends AmqpKitError {
  readonly contract: string;
  readonly maxPending: number;
  readonly outcome: Outcome = "not-executed";
  constructor(operation: Operation, maxPending: number) {
    super(
      "AMQP_KIT_TOO_MANY_REQUESTS",
      `Request "${operation.name}" was not sent: this process already has ${maxPending} pending requests. Send fewer at a time.`,
      true,
    );
    this.contract = operation.name;
    this.maxPending = maxPending;
  }
}

/**
 * An error that the operation declares. A responder's handler throws it; `request` then rejects with it.
 * @example
 * throw new OperationError(addPatient, "already_exists", { patientId });
 */
export class OperationError<
  O extends Operation = Operation,
  N extends ErrorName<O> = ErrorName<O>,
> extends AmqpKitError {
  readonly contract: string;
  readonly error: N;
  readonly details: ErrorDetails<O, N>;

  /** @param details  as the contract's schema for this error declares them. They are sent to the requester */
  constructor(operation: O, error: N, details: ErrorDetails<O, N>) {
    super("AMQP_KIT_OPERATION", `"${operation.name}" ended with "${error}".`, false);
    this.contract = operation.name;
    this.error = error;
    this.details = details;
  }

  /**
   * Whether `error` is this declared error of this operation. Narrows the type of `error.details`.
   * @example
   * if (OperationError.is(error, addPatient, "already_exists")) return error.details.patientId;
   */
  static is<O extends Operation, N extends ErrorName<O>>(
    error: unknown,
    operation: O,
    name: N,
  ): error is OperationError<O, N> {
    return error instanceof OperationError && error.contract === operation.name && error.error === name;
  }
}

/** The responder answered with an error that the operation does not declare. */
export class RemoteError extends AmqpKitError {
  readonly contract: string;
  /**
   * `invalid_message`, `message_too_large`, `response_too_large`, `internal_error`, or the code of a responder without the kit;
   * `invalid_response` if the requester could not read the answer.
   */
  readonly remoteCode: string;
  /** For invalid requests: which fields break which rules. */
  readonly issues: readonly Issue[];
  constructor(
    operation: Operation,
    facts: { code: string; detail: string; retryable: boolean; issues: readonly Issue[] },
  ) {
    const detail = facts.detail === "" ? "." : `: ${facts.detail}`;
    super("AMQP_KIT_REMOTE", `The responder of "${operation.name}" answered "${facts.code}"${detail}`, facts.retryable);
    this.contract = operation.name;
    this.remoteCode = facts.code;
    this.issues = facts.issues;
  }
}

/**
 * Thrown by a subscriber's handler that knows when another attempt can succeed. The message waits for the first of `retryDelaysMs` that is not
 * shorter than `delayMs`, or for the longest. It uses up an attempt like any other failure: after the last one the message is dead-lettered.
 * @example
 * throw new RetryLater({ delayMs: 60_000 });
 */
export class RetryLater extends AmqpKitError {
  readonly delayMs: number;
  /** @throws {UsageError} a delay that is not a number of milliseconds */
  constructor({ delayMs }: { delayMs: number }) {
    if (!(Number.isFinite(delayMs) && delayMs >= 0)) {
      throw new UsageError(`RetryLater: delayMs must be a number of milliseconds, not ${String(delayMs)}.`);
    }
    super("AMQP_KIT_RETRY_LATER", `The handler asked for another attempt in ${Math.ceil(delayMs)} ms.`, true);
    this.delayMs = delayMs;
  }
}

/**
 * Thrown by a subscriber's handler if no further attempt can succeed. The message is dead-lettered immediately, with the reason `rejected`.
 * @example
 * throw new Reject("the patient was merged into another one");
 */
export class Reject extends AmqpKitError {
  /** @param reason  for the operator who reads `<queue>.dead`. It must not contain values of the message: they are about patients */
  constructor(reason: string) {
    super("AMQP_KIT_REJECT", reason, false);
  }
}

brand({
  AmqpKitError,
  UsageError,
  ClosedError,
  ConnectionError,
  TopologyError,
  InvalidMessageError,
  MessageTooLargeError,
  PublishError,
  NoResponderError,
  RequestTimeoutError,
  TooManyRequestsError,
  OperationError,
  RemoteError,
  RetryLater,
  Reject,
});
