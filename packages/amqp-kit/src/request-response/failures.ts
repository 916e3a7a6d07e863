import { replyCodeOf } from "../broker/channel.ts";
import type { Operation } from "../contract.ts";
import { ConnectionError, NoResponderError, PublishError } from "../errors.ts";
import { messageOf } from "../telemetry/log.ts";

/** The errors of a request that got no reply. */

export function notSent(timeoutMs: number): ConnectionError {
  const why = "there was no connection to the broker, or the broker was blocked or slow";
  return new ConnectionError(`The request was not sent within ${timeoutMs} ms: ${why}.`, { retryable: true });
}

export function noConnectionForReply(): ConnectionError {
  return new ConnectionError("The request was not sent: the connection for its reply was lost.", {
    retryable: true,
  });
}

export function replyQueueLost(operation: Operation, reason: Error): ConnectionError {
  return new ConnectionError(
    `The connection was lost before "${operation.name}" was answered: ${messageOf(reason)}. Repeat the request with the same idempotency key.`,
    { retryable: true, outcome: "unknown", cause: reason },
  );
}

export type FailedPublish =
  | { reply: "impossible"; error: unknown }
  /** The channel was lost before the confirm; the request may have reached a responder. */
  | { reply: "possible"; error: Error }
  /** Only the confirm is late. */
  | { reply: "expected" };

/** Returns the request's error after a failed publish, and whether its reply may come nevertheless. */
export function explainFailedPublish(operation: Operation, error: unknown): FailedPublish {
  if (!(error instanceof PublishError)) return { error, reply: "impossible" };
  if (error.reason === "unroutable") {
    const why = `no queue is bound to exchange "${operation.exchange}" with its routing key`;
    return { error: new NoResponderError(operation, "not-executed", why), reply: "impossible" };
  }
  if (error.reason === "timeout") return { reply: "expected" };
  const code = replyCodeOf(error.cause);
  if (error.reason === "refused" || code === 403) return { error, reply: "impossible" };
  if (code === 404) {
    const why = `exchange "${operation.exchange}" does not exist`;
    return { error: new NoResponderError(operation, "unknown", why), reply: "possible" };
  }
  const text = `The connection was lost before "${operation.name}" was answered. Repeat the request with the same idempotency key.`;
  return { error: new ConnectionError(text, { retryable: true, outcome: "unknown", cause: error }), reply: "possible" };
}
