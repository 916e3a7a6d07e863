import { STATUS_CODES } from "node:http";

/** The content type of problem details (RFC 9457). */
export const problemContentType = "application/problem+json";

/** A field of a request and the rule that it breaks. `path` is dotted, such as `home.score`. It never holds the value. */
export interface InvalidField {
  readonly path: string;
  readonly rule: string;
}

export interface ProblemOptions {
  /** What happened and what to do, for people. */
  detail?: string;
  /** For invalid input: the fields. */
  errors?: readonly InvalidField[];
  /** The details of an error that an operation declares. */
  details?: unknown;
  /** Whether the same request may succeed later. */
  retryable?: boolean;
  /** HTTP headers of the response, such as `retry-after`. */
  headers?: Readonly<Record<string, string>>;
  cause?: unknown;
}

/** An error that a route throws to respond with problem details. Any other error becomes a 500 without internals. */
export class HttpProblem extends Error {
  override readonly name = "HttpProblem";
  readonly status: number;
  readonly code: string;
  readonly headers: Readonly<Record<string, string>>;
  readonly #members: Omit<ProblemOptions, "headers" | "cause">;

  constructor(status: number, code: string, { headers = {}, cause, ...members }: ProblemOptions = {}) {
    super(members.detail ?? STATUS_CODES[status] ?? code, { cause });
    this.status = status;
    this.code = code;
    this.headers = headers;
    this.#members = members;
  }

  /** The body of the response. */
  toJSON(): object {
    const { status, code } = this;
    return { type: "about:blank", title: STATUS_CODES[status] ?? "Error", status, code, ...this.#members };
  }
}

/**
 * Creates an error that a route throws to respond with problem details (RFC 9457).
 * @param code  stable, in snake_case, for programs
 * @example
 * throw problem(503, "no_responder", { detail: "No responder is running.", retryable: true, headers: { "retry-after": "5" } });
 */
export function problem(status: number, code: string, options?: ProblemOptions): HttpProblem {
  return new HttpProblem(status, code, options);
}

const known: Readonly<Record<number, { code: string; detail: string }>> = {
  400: { code: "invalid_request", detail: "The request is malformed." },
  408: { code: "request_too_slow", detail: "The request did not arrive in time." },
  413: { code: "message_too_large", detail: "The body is too large." },
  415: { code: "unsupported_media_type", detail: "The content type of the body is not supported." },
  431: { code: "headers_too_large", detail: "The headers are too large." },
};

/** The problem for an HTTP error. The error's own text is not used, since it may quote the request. */
export function problemOfStatus(status: number): HttpProblem {
  const { code, detail } = known[status] ?? { code: "request_refused", detail: "The request was refused." };
  return new HttpProblem(status, code, { detail });
}

/** @returns undefined for an unexpected error */
export function problemOfError(error: unknown): HttpProblem | undefined {
  if (error instanceof HttpProblem) return error;
  if (typeof error !== "object" || error === null) return undefined;
  if ("code" in error && error.code === "FST_ERR_CTP_INVALID_JSON_BODY") {
    return problem(400, "invalid_json", { detail: "The body is not valid JSON." });
  }
  if ("code" in error && error.code === "FST_ERR_CTP_EMPTY_JSON_BODY") {
    return problem(400, "invalid_json", { detail: "The body is empty, but its content type is JSON." });
  }
  if ("validation" in error && Array.isArray(error.validation)) {
    const errors = error.validation.slice(0, 100).map(invalidField);
    return problem(400, "invalid_request", { detail: "The request is invalid: see its errors.", errors });
  }
  if ("statusCode" in error && typeof error.statusCode === "number") {
    const { statusCode } = error;
    if (statusCode >= 400 && statusCode < 500) return problemOfStatus(statusCode);
  }
  return undefined;
}

/** @param issue  from Fastify's validation, by Ajv or by zod */
function invalidField(issue: {
  instancePath?: string;
  message?: string;
  params?: { missingProperty?: string };
}): InvalidField {
  const path = (issue.instancePath ?? "").split("/").filter((part) => part !== "");
  const missing = issue.params?.missingProperty;
  if (missing !== undefined) return { path: [...path, missing].join("."), rule: "is required" };
  return { path: path.join("."), rule: (issue.message ?? "is invalid").replace(/\.$/, "") };
}
