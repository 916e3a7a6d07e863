import { randomUUID } from "node:crypto";
import type { Message, Options } from "amqplib";
import type { Contract, Decoders, Input, Output, Schema } from "./contract.ts";
import { InvalidMessageError, MessageTooLargeError, UsageError } from "./errors.ts";
import type { Issue } from "./errors.ts";

export const maxBodyBytes = 1024 * 1024;
export const maxHeaderBytes = 32 * 1024;
const maxShortString = 255;
/** Of a message that breaks its schema in a million places, or at a name of a million letters. */
const maxIssues = 100;
const maxIssueText = 200;
const json = "application/json";

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

/** @returns what the schema makes of the value. @throws {InvalidMessageError} */
export function validate<S extends Schema>(contract: string, schema: S, value: unknown): Output<S> {
  const result = resultOf(schema, value);
  if (result instanceof Error || result instanceof Promise) {
    // Zod turns to its asynchronous side when a schema throws: a recursive one does on arrays nested a hundred thousand deep.
    if (result instanceof Promise) result.catch(() => undefined);
    const rule = "its schema does not answer at once: it is asynchronous, or throws";
    throw new InvalidMessageError(contract, [{ path: "", rule }]);
  }
  if (result.issues === undefined) return result.value;
  const { vendor } = schema["~standard"];
  throw new InvalidMessageError(
    contract,
    result.issues.slice(0, maxIssues).map((issue) => toIssue(issue, vendor)),
  );
}

function resultOf(schema: Schema, value: unknown): ReturnType<Schema["~standard"]["validate"]> | Error {
  try {
    return schema["~standard"].validate(value);
  } catch (error) {
    return error instanceof Error ? error : new Error("the schema threw");
  }
}

/** Zod's sentences quote no value; those of other libraries do, so that of theirs only the path is told. */
function toIssue(
  issue: { message: string; path?: readonly (PropertyKey | { key: PropertyKey })[] | undefined },
  vendor: string,
): Issue {
  const path = (issue.path ?? []).map((part) => String(typeof part === "object" ? part.key : part)).join(".");
  const rule = vendor === "zod" ? issue.message : "does not match its schema";
  return { path: path.slice(0, maxIssueText), rule: rule.slice(0, maxIssueText).replace(/\.$/, "") };
}

/**
 * Validates and encodes a message.
 * @throws {InvalidMessageError} {MessageTooLargeError} before anything is sent
 */
export function encode<S extends Schema>(contract: string, schema: S, value: Input<S>): Buffer {
  const valid = validate(contract, schema, value);
  let text: string | undefined;
  try {
    text = JSON.stringify(valid);
  } catch {
    text = undefined;
  }
  if (text === undefined) throw new InvalidMessageError(contract, [{ path: "", rule: "has no JSON form" }]);
  const body = Buffer.from(text);
  if (body.length > maxBodyBytes) throw new MessageTooLargeError(contract, "body", body.length, maxBodyBytes);
  return body;
}

/**
 * Reads and validates what came off the wire.
 * @throws {InvalidMessageError} {MessageTooLargeError} unparsed
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

/** JSON, less own properties named `__proto__`: they become a prototype wherever somebody copies them by assignment. */
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
  throw invalid("its decoder does not answer at once: it is asynchronous");
}

/** The properties that every message of the kit carries. They are information; nobody trusts them. */
export function propertiesOf(
  contract: Contract,
  service: string,
  messageId: string,
): Options.Publish & { messageId: string } {
  return {
    contentType: json,
    messageId,
    timestamp: Math.floor(Date.now() / 1000),
    type: contract.name,
    appId: service,
  };
}

/** @returns the id given, checked, or a new one. @throws {UsageError} an id that AMQP cannot carry */
export function messageIdOf(given: string | undefined): string {
  return given === undefined ? randomUUID() : shortString("messageId", given);
}

/** @throws {UsageError} a string that is empty or takes more than the 255 bytes of an AMQP short string (spec 4.2.5.3) */
export function shortString(name: string, value: string): string {
  if (typeof value === "string" && value !== "" && Buffer.byteLength(value) <= maxShortString) return value;
  throw new UsageError(`${name} must be a string of 1 to ${maxShortString} bytes.`);
}

/** @param attempt  as the kit has counted it; the sender's headers have no say in it */
export function deliveryOf(message: Message, signal: AbortSignal, attempt = 1): Delivery {
  const { properties, fields } = message;
  const headers: Record<string, unknown> = properties.headers ?? {};
  const messageId = text(properties.messageId);
  return {
    messageId,
    idempotencyKey: text(headers["idempotency-key"]) ?? messageId,
    sentAt: sentAt(properties.timestamp),
    appId: text(properties.appId),
    redelivered: fields.redelivered,
    attempt,
    headers: { ...headers },
    signal,
  };
}

/** Databases cannot hold U+0000 in a text. */
function text(value: unknown): string | undefined {
  const isUsable = typeof value === "string" && value !== "" && !value.includes("\u0000");
  return isUsable && Buffer.byteLength(value) <= maxShortString ? value : undefined;
}

/**
 * A key that is there and cannot be used must not be ignored: each repeat would be executed.
 * @throws {InvalidMessageError}
 */
export function checkIdempotencyKey(contract: string, { properties }: Message): void {
  const key: unknown = properties.headers?.["idempotency-key"];
  if (key === undefined || text(key) !== undefined) return;
  const rule = `must be a string of 1 to ${maxShortString} bytes without U+0000`;
  throw new InvalidMessageError(contract, [{ path: "idempotency-key", rule }]);
}

/** AMQP timestamps are seconds; one in milliseconds, or absurd, is no time at all. */
function sentAt(timestamp: unknown): Date | undefined {
  const isTime = typeof timestamp === "number" && timestamp > 0 && timestamp <= 253_402_300_799;
  return isTime ? new Date(timestamp * 1000) : undefined;
}

/** Bytes that a header value takes on the wire, near enough for a limit. */
export function sizeOf(value: unknown): number {
  if (value === null || value === undefined) return 1;
  if (typeof value === "string") return 5 + Buffer.byteLength(value);
  // Not `Buffer.isBuffer`, which is true of a table, too, to which a header named `__proto__` gave one as its prototype
  if (ArrayBuffer.isView(value)) return 5 + value.byteLength;
  if (typeof value !== "object") return 9;
  let bytes = 5;
  for (const [key, item] of Object.entries(value)) bytes += 1 + Buffer.byteLength(key) + sizeOf(item);
  return bytes;
}
