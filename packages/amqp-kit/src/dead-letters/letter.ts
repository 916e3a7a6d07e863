import type { ConsumeMessage } from "amqplib";
import { UsageError } from "../errors.ts";

/** A dead letter, with the facts from the kit's headers. Everybody who may write to the queue can forge them. */
export interface DeadLetter {
  readonly message: ConsumeMessage;
  readonly messageId: string | undefined;
  readonly reason: string | undefined;
  readonly service: string | undefined;
  readonly error: string | undefined;
  readonly deadLetteredAt: Date | undefined;
  /** How often it was delivered in vain, as a quorum queue counts. */
  readonly deliveryCount: number;
}

export function toDeadLetter(message: ConsumeMessage): DeadLetter {
  const headers: Record<string, unknown> = message.properties.headers ?? {};
  const at = nonEmptyText(headers["amqp-kit-last-failed-at"]);
  const deadLetteredAt = at === undefined ? undefined : new Date(at);
  const deliveryCount = headers["x-delivery-count"];
  return {
    message,
    messageId: nonEmptyText(message.properties.messageId),
    reason: nonEmptyText(headers["amqp-kit-reason"]),
    service: nonEmptyText(headers["amqp-kit-service"]),
    error: nonEmptyText(headers["amqp-kit-error"]),
    deadLetteredAt: deadLetteredAt === undefined || Number.isNaN(deadLetteredAt.getTime()) ? undefined : deadLetteredAt,
    deliveryCount: typeof deliveryCount === "number" ? deliveryCount : 0,
  };
}

/** The queue whose failures a dead queue keeps. @throws {UsageError} the name of another queue */
export function workQueue(deadQueue: string): string {
  if (!deadQueue.endsWith(".dead"))
    throw new UsageError(`"${deadQueue}" is not a dead queue. Names of dead queues end in ".dead".`);
  return deadQueue.slice(0, -".dead".length);
}

function nonEmptyText(value: unknown): string | undefined {
  return typeof value === "string" && value !== "" ? value : undefined;
}
