import type { Message } from "amqplib";

/** Recognises messages whose processes die, or lose their connection, while they handle them. */

/** From this many returns on, a message is handled while no other is in flight. */
const suspectAfter = 2;
/** From this many returns on, a message is dead-lettered. RabbitMQ 4 silently drops one that was returned to its quorum queue 21 times. */
const maxReturns = 10;

export class TooManyDeliveries extends Error {
  constructor(returns: number) {
    super(`returned ${returns} times by processes that ended, or lost their connection, while they handled it`);
    this.name = "TooManyDeliveries";
  }
}

/** Whether the message may have killed the processes that handled it: then no other message should be in flight with it. */
export function isSuspect(message: Message): boolean {
  return claimedReturns(message) >= suspectAfter;
}

/** Undefined below the limit. A claim only: in a classic queue the sender wrote the header. */
export function claimedTooManyDeliveries(message: Message): TooManyDeliveries | undefined {
  const returns = claimedReturns(message);
  return returns < maxReturns ? undefined : new TooManyDeliveries(returns);
}

/**
 * How often the message was returned, as the broker counts in quorum queues. From RabbitMQ 4.3 on, a sender's `x-delivery-count` stays
 * until the first return that counts; `x-acquired-count` is always the broker's own there.
 */
function claimedReturns({ fields, properties }: Message): number {
  if (!fields.redelivered) return 0;
  const returns = countOf(properties.headers?.["x-delivery-count"]) ?? 0;
  return Math.min(returns, countOf(properties.headers?.["x-acquired-count"]) ?? returns);
}

function countOf(value: unknown): number | undefined {
  return typeof value === "number" && Number.isSafeInteger(value) && value >= 0 ? value : undefined;
}
