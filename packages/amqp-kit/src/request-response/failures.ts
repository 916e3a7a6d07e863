import { replyCodeOf } from "../broker/channel.ts";
import type { Operation } from "../contract.ts";
import { ConnectionError, NoResponderError, PublishError } from "../errors.ts";
import { messageOf } from "../telemetry/log.ts";

/** The errors of a request that got no reply. */

export function notSent(timeoutMs: number): ConnectionError {
  const why = "no connection to the broker, or it takes no more for now";
  return new ConnectionError(`Nothing was sent within ${timeoutMs} ms: there was ${why}.`, { retryable: true });
}

export function noConnectionForReply(): ConnectionError {
  return new ConnectionError("Nothing was sent: the connection on which its reply would come was lost.", {
    retryable: true,
  });
}

export function replyQueueLost(operation: Operation, reason: Error): ConnectionError {
  return new ConnectionError(
    `The connection was lost while "${operation.name}" was asked: ${messageOf(reason)}. Repeat it under the same idempotency key.`,
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
    const why = `no queue is bound to exchange "${operation.exchange}" under that key`;
    return { error: new NoResponderError(operation, "not-executed", why), reply: "impossible" };
  }
  if (error.reason === "timeout") return { reply: "expected" };
  const code = replyCodeOf(error.cause);
  if (error.reason === "refused" || code === 403) return { error, reply: "impossible" };
  if (code === 404) {
    const why = `exchange "${operation.exchange}" does not exist`;
    return { error: new NoResponderError(operation, "unknown", why), reply: "possible" };
  }
  const text = `The connection was lost while "${operation.name}" was asked. Repeat it under the same idempotency key.`;
  return { error: new ConnectionError(text, { retryable: true, outcome: "unknown", cause: error }), reply: "possible" };
}
