import type { Message, Options } from "amqplib";
import type { Outgoing } from "../broker/publisher.ts";
import { maxHeaderBytes, maxShortString, sizeOf } from "../messages/limits.ts";

/** Publishes a received message again, to another queue: what it keeps, and what it must not keep. */

/** Part of the headers' limit, reserved for the kit's own headers. */
const ownHeaderBytes = 4 * 1024;

/** The same message, addressed to another queue. */
export function forwarded(message: Message, routingKey: string, headers: Record<string, unknown>): Outgoing {
  return {
    messageId: shortText(message.properties.messageId),
    routingKey,
    body: message.content,
    properties: () => forwardedProperties(message, headers),
  };
}

/**
 * The message's headers without those that a broker acts upon: a kept `CC` would put a copy into the main queue. If they leave no room for
 * the kit's own headers, only the idempotency key is kept.
 */
export function forwardedHeaders({ properties }: Pick<Message, "properties">): Record<string, unknown> {
  const all = Object.entries<unknown>(properties.headers ?? {}).filter(
    ([name]) => !/^(x-.*|CC|BCC)$/i.test(name) && !isTooLong(name),
  );
  const headers = Object.fromEntries(all);
  if (sizeOf(headers) <= maxHeaderBytes - ownHeaderBytes) return headers;
  const key = shortText(headers["idempotency-key"]);
  return { ...(key !== undefined && { "idempotency-key": key }), "amqp-kit-headers-dropped": all.length };
}

/** A kept `expiration` would empty the dead queue; a kept `user_id` would close the channel. */
function forwardedProperties({ properties }: Message, headers: Record<string, unknown>): Options.Publish {
  const { contentType, contentEncoding, priority, correlationId, replyTo, type, appId } = properties;
  const timestamp = writableTimestamp(properties.timestamp);
  const kept = { contentType, contentEncoding, priority, correlationId, replyTo, timestamp, type, appId };
  return {
    ...Object.fromEntries(Object.entries(kept).filter(([, value]) => value !== undefined && !isTooLong(value))),
    headers,
    deliveryMode: 2,
  };
}

/** amqplib reads any 64 bits, but writes only safe integers. */
function writableTimestamp(value: unknown): number | undefined {
  return typeof value === "number" && Number.isSafeInteger(value) && value >= 0 ? value : undefined;
}

/** Bytes that are not UTF-8 take three when they are written again. */
function isTooLong(value: unknown): boolean {
  return typeof value === "string" && Buffer.byteLength(value) > maxShortString;
}

function shortText(value: unknown): string | undefined {
  return typeof value === "string" && !isTooLong(value) ? value : undefined;
}
