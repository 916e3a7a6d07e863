import { channel } from "node:diagnostics_channel";

/**
 * What the kit counts, as `node:diagnostics_channel` messages named `amqp-kit:<event>`. Subscribe to feed metrics.
 * Facts are ids, names and numbers, never bodies.
 */
export interface AmqpKitEvents {
  /** A broadcast was dropped, by its sender or a listener, or a message that nobody can be told of. */
  dropped: { contract: string; reason: DropReason; count: number };
  /** A handler failed and the message waits for its next attempt. */
  retried: { contract: string; messageId: string | undefined; attempt: number; delayMs: number };
  /** A handler failed because what it needs is not available: its subscription takes no messages until it is. */
  paused: { contract: string };
  /** What the handlers need is available again. */
  resumed: { contract: string; pausedMs: number };
  /** A notification went to `<queue>.dead`. */
  "dead-lettered": { contract: string; messageId: string | undefined; reason: string };
  /** A reply that nobody waits for: late, doubled or foreign. */
  "reply-ignored": { service: string };
  /** A reply whose requester is gone. */
  "reply-undeliverable": { contract: string; messageId: string | undefined };
  /** A request without a usable reply queue. */
  "request-refused": { contract: string; messageId: string | undefined };
  /** A request was written to the broker. `expiresInMs` is its `expiration`: what is left of its time limit. */
  "request-sent": { contract: string; messageId: string; expiresInMs: number };
  /** A handler begins a request. `expiresInMs` is what was left of its time limit, by the responder's own clock. */
  "request-begun": { contract: string; messageId: string | undefined; expiresInMs: number | undefined };
  /** A request came too late, or out of a stalled process' socket, and was given back to the broker unbegun. */
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
