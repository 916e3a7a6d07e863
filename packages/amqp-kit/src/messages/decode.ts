import type { Message } from "amqplib";
import type { Decoders, Output, Schema } from "../contract.ts";
import { InvalidMessageError, MessageTooLargeError } from "../errors.ts";
import { sentAt } from "./delivery.ts";
import { maxBodyBytes, maxHeaderBytes, sizeOf } from "./limits.ts";
import { json } from "./properties.ts";
import { validate } from "./validate.ts";

/**
 * Parses and validates a received message.
 * @throws {InvalidMessageError}
 * @throws {MessageTooLargeError} without parsing it
 */
export function decode<S extends Schema>(contract: string, schema: S, decoders: Decoders, message: Message): Output<S> {
  const { content, properties } = message;
  if (content.length > maxBodyBytes) throw new MessageTooLargeError(contract, "body", content.length, maxBodyBytes);
  const headerBytes = sizeOf(properties.headers);
  if (headerBytes > maxHeaderBytes) throw new MessageTooLargeError(contract, "headers", headerBytes, maxHeaderBytes);

  const invalid = (rule: string): InvalidMessageError => new InvalidMessageError(contract, [{ path: "", rule }]);
  const encoding = String(properties.contentEncoding ?? "").toLowerCase();
  if (!["", "identity", "utf-8", "utf8", "us-ascii", "ascii"].includes(encoding)) {
    throw invalid("its content_encoding is not supported, only UTF-8 without compression is");
  }
  const { type, charset } = contentType(properties.contentType, decoders);
  if (charset !== "utf-8" && charset !== "us-ascii") throw invalid("its charset is not UTF-8");
  const decoder = Object.hasOwn(decoders, type) ? decoders[type] : undefined;
  if (decoder === undefined && type !== json)
    throw invalid(`its content type is not ${[json, ...Object.keys(decoders)].join(" or ")}`);
  if (content.length === 0) throw invalid("its body is empty");

  let text: string;
  try {
    text = new TextDecoder("utf-8", { fatal: true }).decode(content);
  } catch {
    throw invalid("its body is not UTF-8");
  }
  return validate(
    contract,
    schema,
    decoder === undefined ? parseJson(text, invalid) : readText(decoder, text, properties, invalid),
  );
}

function contentType(property: unknown, decoders: Decoders): { type: string; charset: string } {
  if (property === undefined || property === "") {
    return { type: Object.hasOwn(decoders, "text/plain") ? "text/plain" : json, charset: "utf-8" };
  }
  const [type = "", ...parameters] = (typeof property === "string" ? property : "unknown").toLowerCase().split(";");
  const charset = parameters
    .map((parameter) => /^\s*charset="?([^"]*?)"?\s*$/.exec(parameter)?.[1])
    .find((value) => value !== undefined);
  return { type: type.trim(), charset: charset === undefined || charset === "utf8" ? "utf-8" : charset };
}

function parseJson(text: string, invalid: (rule: string) => Error): unknown {
  try {
    return parse(text);
  } catch {
    throw invalid("its body is not JSON");
  }
}

/** Parses JSON and removes properties named `__proto__`: code that copies them by assignment would set a prototype. */
export function parse(text: string): unknown {
  return /__proto__|\\u/i.test(text)
    ? JSON.parse(text, (key, value: unknown) => (key === "__proto__" ? undefined : value))
    : JSON.parse(text);
}

function readText(
  decoder: Decoders[string],
  text: string,
  properties: Message["properties"],
  invalid: (rule: string) => Error,
): unknown {
  let value: unknown;
  try {
    value = decoder(text, { sentAt: sentAt(properties.timestamp) });
  } catch (error) {
    throw invalid(`its text cannot be read: ${error instanceof Error ? error.message : "the decoder failed"}`);
  }
  if (!(value instanceof Promise)) return value;
  value.catch(() => undefined);
  throw invalid("its decoder is asynchronous");
}
