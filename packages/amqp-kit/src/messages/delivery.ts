import type { Message } from "amqplib";
import { InvalidMessageError } from "../errors.ts";
import { maxShortString } from "./limits.ts";

/**
 * The properties of a message that a handler receives. All except `attempt` and `redelivered` were written by the sender: they are information,
 * not proof.
 */
export interface Delivery {
  readonly messageId: string | undefined;
  /** The header `idempotency-key`, else the message id. Undefined if there is neither: then a repetition cannot be recognised. */
  readonly idempotencyKey: string | undefined;
  readonly sentAt: Date | undefined;
  readonly appId: string | undefined;
  /** The broker has delivered this message before. Its effect may have happened. */
  readonly redelivered: boolean;
  /** 1 at the first attempt, and one more with each retry. */
  readonly attempt: number;
  readonly headers: Readonly<Record<string, unknown>>;
  /** Aborts when the delivery is lost, at the request's time limit, and when `close` runs out of time. */
  readonly signal: AbortSignal;
}

/** @param attempt  counted by the kit; the sender's headers do not affect it */
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

/** A text of 1 to 255 bytes without U+0000, which databases cannot store. */
function usableText(value: unknown): string | undefined {
  const isUsable = typeof value === "string" && value !== "" && !value.includes("\u0000");
  return isUsable && Buffer.byteLength(value) <= maxShortString ? value : undefined;
}

/**
 * Refuses an unusable idempotency key. If it were ignored, each repetition would be executed.
 * @throws {InvalidMessageError}
 */
export function checkIdempotencyKey(contract: string, { properties }: Message): void {
  const key: unknown = properties.headers?.["idempotency-key"];
  if (key === undefined || usableText(key) !== undefined) return;
  const rule = `must be a string of 1 to ${maxShortString} bytes without U+0000`;
  throw new InvalidMessageError(contract, [{ path: "idempotency-key", rule }]);
}

/** AMQP timestamps are in seconds. One in milliseconds, or out of range, is ignored. */
export function sentAt(timestamp: unknown): Date | undefined {
  const isTime = typeof timestamp === "number" && timestamp > 0 && timestamp <= 253_402_300_799;
  return isTime ? new Date(timestamp * 1000) : undefined;
}
