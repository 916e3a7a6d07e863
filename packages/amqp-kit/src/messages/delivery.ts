import type { Message } from "amqplib";
import { InvalidMessageError } from "../errors.ts";
import { maxShortString } from "./limits.ts";

/**
 * What a handler learns of a message besides its content. Apart from `attempt` and `redelivered` it is what the sender wrote:
 * information, not proof.
 */
export interface Delivery {
  readonly messageId: string | undefined;
  /** The header `idempotency-key`, else the message id, else undefined: then nothing can be deduplicated. */
  readonly idempotencyKey: string | undefined;
  readonly sentAt: Date | undefined;
  readonly appId: string | undefined;
  /** The broker has handed this message out before; its effect may have happened. */
  readonly redelivered: boolean;
  /** 1 at first, one more with each retry. */
  readonly attempt: number;
  readonly headers: Readonly<Record<string, unknown>>;
  /** Aborts when the delivery is lost, at the request's time limit, and when `close` runs out of time. */
  readonly signal: AbortSignal;
}

/** @param attempt  as the kit has counted it; the sender's headers have no say in it */
export function deliveryOf(message: Message, signal: AbortSignal, attempt = 1): Delivery {
  const { properties, fields } = message;
  const headers: Record<string, unknown> = properties.headers ?? {};
  const messageId = usableText(properties.messageId);
  return {
    messageId,
    idempotencyKey: usableText(headers["idempotency-key"]) ?? messageId,
    sentAt: sentAt(properties.timestamp),
    appId: usableText(properties.appId),
    redelivered: fields.redelivered,
    attempt,
    headers: { ...headers },
    signal,
  };
}

/** Databases cannot hold U+0000 in a text. */
function usableText(value: unknown): string | undefined {
  const isUsable = typeof value === "string" && value !== "" && !value.includes("\u0000");
  return isUsable && Buffer.byteLength(value) <= maxShortString ? value : undefined;
}

/**
 * A key that is there and cannot be used must not be ignored: each repeat would be executed.
 * @throws {InvalidMessageError}
 */
export function checkIdempotencyKey(contract: string, { properties }: Message): void {
  const key: unknown = properties.headers?.["idempotency-key"];
  if (key === undefined || usableText(key) !== undefined) return;
  const rule = `must be a string of 1 to ${maxShortString} bytes without U+0000`;
  throw new InvalidMessageError(contract, [{ path: "idempotency-key", rule }]);
}

/** AMQP timestamps are seconds; one in milliseconds, or absurd, is no time at all. */
export function sentAt(timestamp: unknown): Date | undefined {
  const isTime = typeof timestamp === "number" && timestamp > 0 && timestamp <= 253_402_300_799;
  return isTime ? new Date(timestamp * 1000) : undefined;
}
