import { channel } from "node:diagnostics_channel";

/**
 * The kit's `node:diagnostics_channel` messages, named `amqp-kit:<event>`. Subscribe to them to feed metrics. They contain ids, names and
 * numbers, never bodies.
 * @example
 * subscribe("amqp-kit:dead-lettered", (event) => deadLetters.inc({ reason: event.reason }));
 */
export interface AmqpKitEvents {
  /** A sender or a listener dropped a broadcast. */
  dropped: { contract: string; reason: DropReason; count: number };
  /** A handler failed, and the message waits for its next attempt. */
  retried: { contract: string; messageId: string | undefined; attempt: number; delayMs: number };
  /** A handler failed because a dependency is unavailable. Its subscription consumes no messages until the dependency is available again. */
  paused: { contract: string };
  /** The dependency is available again. */
  resumed: { contract: string; pausedMs: number };
  /** A notification was moved to `<queue>.dead`. */
  "dead-lettered": { contract: string; messageId: string | undefined; reason: string };
  /** A reply without a pending request was ignored: it came too late, twice, or from a stranger. */
  "reply-ignored": { service: string };
  /** A reply could not be delivered: its requester has disconnected. */
  "reply-undeliverable": { contract: string; messageId: string | undefined };
  /** A request without a usable `reply_to` was refused. */
  "request-refused": { contract: string; messageId: string | undefined };
  /** A request was written to the connection. `expiresInMs` is its `expiration`: the rest of its time limit. */
  "request-sent": { contract: string; messageId: string; expiresInMs: number };
  /** A handler begins a request. `expiresInMs` is the rest of its time limit, by the responder's own clock. */
  "request-begun": { contract: string; messageId: string | undefined; expiresInMs: number | undefined };
  /** A request arrived too late, or waited in the socket of a stalled process, and was requeued before a handler began it. */
  "request-returned": { contract: string; messageId: string | undefined };
  connection: { purpose: "publishing" | "consuming"; state: "open" | "lost" | "blocked" | "unblocked" };
}

export type DropReason =
  | "disconnected"
  | "blocked"
  | "stalled"
  | "exchange-gone"
  | "buffer-full"
  | "invalid-message"
  | "message-too-large"
  | "closing";

export function emit<E extends keyof AmqpKitEvents>(event: E, facts: AmqpKitEvents[E]): void {
  channel(`amqp-kit:${event}`).publish(facts);
}
