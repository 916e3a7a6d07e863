import { TooManyDeliveries } from "./delivery-count.ts";
import { AmqpKitError, InvalidMessageError, RemoteError } from "../errors.ts";
import { codeIn, withoutValues } from "../telemetry/log.ts";

/** Why a message is in `<queue>.dead`, and the headers that say so. */

export const deadLetterReasons = [
  "invalid_message",
  "message_too_large",
  "handler_failed",
  "rejected",
  "too_many_deliveries",
] as const;
export type DeadLetterReason = (typeof deadLetterReasons)[number];

const maxErrorBytes = 1_024;

/** The texts of the kit's own errors hold no values. Of other errors, and of what another responder wrote, only name and code are kept. */
export function errorHeaders(error: unknown): Record<string, string> {
  const isOurs = error instanceof AmqpKitError || error instanceof TooManyDeliveries;
  const isForeign = !isOurs || error instanceof RemoteError;
  const text = isForeign ? withoutValues(error).error : `${error.name}: ${error.message}`;
  const code = codeIn(error);
  const path = error instanceof InvalidMessageError ? (error.issues[0]?.path ?? "") : "";
  return {
    "amqp-kit-error": cut(text, maxErrorBytes),
    ...(code !== undefined && { "amqp-kit-error-code": code }),
    ...(path !== "" && { "amqp-kit-error-path": path }),
  };
}

function cut(text: string, maxBytes: number): string {
  return Buffer.from(text)
    .subarray(0, maxBytes)
    .toString()
    .replace(/\uFFFD+$/, "");
}
