import type { Message } from "amqplib";
import type { Operation } from "../contract.ts";
import { InvalidMessageError, MessageTooLargeError, OperationError, RemoteError } from "../errors.ts";
import type { Issue } from "../errors.ts";
import { parse } from "../messages/decode.ts";
import { maxBodyBytes } from "../messages/limits.ts";
import { validate } from "../messages/validate.ts";

/** Error replies: problem details (RFC 9457). Only their content type distinguishes them from an answer. */

export const problemType = "application/problem+json";
const maxIssues = 100;
const maxTextLength = 500;

interface Problem {
  title: string;
  code: string;
  retryable: boolean;
  detail?: string;
  errors?: readonly Issue[];
  details?: unknown;
}

const plainFailure: Problem = { title: "The request failed", code: "internal_error", retryable: true };

/** Returns the error reply for a failed request. It never contains the text or stack of an error that the contract does not declare. */
export function problemFor(operation: Operation, error: unknown): { code: string; body: Buffer } {
  const problem = describe(operation, error);
  const body = encode(problem);
  if (body === undefined) return problemFor(operation, undefined);
  return body.length <= maxBodyBytes
    ? { code: problem.code, body }
    : problemFor(operation, new MessageTooLargeError(operation.name, "body", body.length, maxBodyBytes));
}

/** @returns undefined if the details have no JSON form, although their schema accepts them */
function encode(problem: Problem): Buffer | undefined {
  try {
    return Buffer.from(JSON.stringify({ type: `urn:amqp-kit:problem:${problem.code}`, ...problem }));
  } catch {
    return undefined;
  }
}

function describe(operation: Operation, error: unknown): Problem {
  if (error instanceof InvalidRequest) {
    const { cause } = error;
    if (cause instanceof MessageTooLargeError) {
      return { title: "The request is too large", code: "message_too_large", retryable: false, detail: cause.message };
    }
    const errors = cause.issues;
    return {
      title: "The request is not valid",
      code: "invalid_message",
      retryable: false,
      detail: cause.message.slice(0, maxTextLength),
      errors,
    };
  }
  if (error instanceof MessageTooLargeError && error.contract === operation.name) {
    return { title: "The response is too large", code: "response_too_large", retryable: false, detail: error.message };
  }
  const schema =
    error instanceof OperationError && error.contract === operation.name ? operation.errors[error.error] : undefined;
  if (error instanceof OperationError && schema !== undefined) {
    try {
      const details = validate(operation.name, schema, error.details);
      return { title: error.message, code: error.error, retryable: false, details };
    } catch {
      // Details that break their own contract are an internal error of the responder.
    }
  }
  return plainFailure;
}

/** The request was refused before its handler was called. */
export class InvalidRequest extends Error {
  override readonly cause: InvalidMessageError | MessageTooLargeError;
  constructor(cause: InvalidMessageError | MessageTooLargeError) {
    super(cause.message);
    this.cause = cause;
  }
}

/** Whether a reply is an error reply. */
export function isProblem({ properties }: Message): boolean {
  const [type = ""] = String(properties.contentType).split(";");
  return type.trim().toLowerCase() === problemType;
}

/** @returns the error of an error reply: an `OperationError` if the contract declares its code, else a `RemoteError` */
export function readProblem(operation: Operation, { content }: Message): Error {
  const fields = fieldsOf(content);
  const code = cutText(fields.code) ?? "internal_error";
  const schema = Object.hasOwn(operation.errors, code) ? operation.errors[code] : undefined;
  if (schema !== undefined) {
    try {
      return new OperationError(operation, code, validate(operation.name, schema, fields.details));
    } catch (error) {
      return unreadableReply(operation, error);
    }
  }
  const issues = Array.isArray(fields.errors) ? fields.errors.slice(0, maxIssues) : [];
  return new RemoteError(operation, {
    code,
    detail: cutText(fields.detail) ?? cutText(fields.title) ?? "",
    retryable: fields.retryable === true,
    issues: issues.map((issue: Record<string, unknown> | null) => ({
      path: cutText(issue?.path) ?? "",
      rule: cutText(issue?.rule) ?? "",
    })),
  });
}

/** @returns the caller's error for an answer that breaks its contract */
export function unreadableReply(operation: Operation, error: unknown): Error {
  if (error instanceof InvalidMessageError) {
    const { message: detail, issues } = error;
    return new RemoteError(operation, { code: "invalid_response", detail, retryable: false, issues });
  }
  if (error instanceof MessageTooLargeError) {
    const { message: detail } = error;
    return new RemoteError(operation, { code: "response_too_large", detail, retryable: false, issues: [] });
  }
  return error instanceof Error ? error : new Error(String(error));
}

function fieldsOf(content: Buffer): Record<string, unknown> {
  if (content.length > maxBodyBytes) return {};
  try {
    const value: unknown = parse(content.toString());
    return typeof value === "object" && value !== null ? { ...value } : {};
  } catch {
    // Without fields the caller still gets an error: `internal_error`.
    return {};
  }
}

function cutText(value: unknown): string | undefined {
  return typeof value === "string" ? value.slice(0, maxTextLength) : undefined;
}
