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
  "set-aside": { contract: string; messageId: string | undefined; reason: string };
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

/** Takes pino's shape: facts first, then the sentence. */
export interface Logger {
  debug(facts: object, message: string): void;
  info(facts: object, message: string): void;
  warn(facts: object, message: string): void;
  error(facts: object, message: string): void;
}

const ignore = (): void => undefined;
export const silent: Logger = { debug: ignore, info: ignore, warn: ignore, error: ignore };

/** Such as AMQP_KIT_REJECT, ECONNREFUSED or PostgreSQL's 23505; what does not look like a code may be a value. */
export function codeIn(error: unknown): string | undefined {
  const code = error instanceof Error ? textOf(error, "code") : "";
  return /^[A-Z0-9_]{1,100}$/.test(code) ? code : undefined;
}

/** A foreign error's text may quote a patient: its name, code and stack frames do not. Takes whatever was thrown. */
export function withoutValues(error: unknown): { error: string; at?: string[] } {
  if (!(error instanceof Error)) return { error: "not an Error" };
  const code = codeIn(error);
  const at = textOf(error, "stack")
    .split("\n")
    .filter((line) => /^\s+at /.test(line));
  return {
    error: `${textOf(error, "name") || "Error"}${code === undefined ? "" : ` (${code})`}`,
    at: at.map((line) => line.trim()),
  };
}

/** What happened, in words; for errors of the kit, of amqplib and of the network. */
export function told(error: unknown): string {
  return error instanceof Error ? textOf(error, "message") || textOf(error, "code") : typeof error;
}

/** A property of something that was thrown: it may be anything, or a getter that throws. */
function textOf(error: Error, property: "name" | "message" | "code" | "stack"): string {
  try {
    const value: unknown = property in error ? Reflect.get(error, property) : "";
    return typeof value === "string" ? value : "";
  } catch {
    return "";
  }
}

const quietMs = 10_000;

interface Unlogged {
  count: number;
  /** Runs while it is quiet: what was dropped meanwhile is logged at its end. */
  quiet: NodeJS.Timeout | undefined;
}

/** Counts what is dropped, and logs the first of each kind at once and the others summed up, at most every ten seconds. */
export class Drops {
  readonly #contract: string;
  readonly #logger: Logger;
  readonly #unlogged = new Map<DropReason, Unlogged>();

  constructor(contract: string, logger: Logger) {
    this.#contract = contract;
    this.#logger = logger;
  }

  count(reason: DropReason, count = 1): void {
    if (count === 0) return;
    emit("dropped", { contract: this.#contract, reason, count });
    const unlogged = this.#unlogged.get(reason) ?? { count: 0, quiet: undefined };
    this.#unlogged.set(reason, unlogged);
    unlogged.count += count;
    if (unlogged.quiet === undefined) this.#log(reason, unlogged);
  }

  /** Logs what has not been logged yet. */
  close(): void {
    for (const [reason, unlogged] of this.#unlogged) {
      if (unlogged.count > 0) this.#log(reason, unlogged);
      clearTimeout(unlogged.quiet);
    }
  }

  #log(reason: DropReason, unlogged: Unlogged): void {
    this.#logger.warn({ contract: this.#contract, reason, count: unlogged.count }, "messages dropped");
    unlogged.count = 0;
    clearTimeout(unlogged.quiet);
    unlogged.quiet = setTimeout(() => {
      unlogged.quiet = undefined;
      if (unlogged.count > 0) this.#log(reason, unlogged);
    }, quietMs).unref();
  }
}
