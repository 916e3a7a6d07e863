import { STATUS_CODES } from "node:http";

/** Errors over HTTP: problem details (RFC 9457). */

export const problemContentType = "application/problem+json";

/** Which field of a request broke which rule; `path` has dots in it. Never the value. */
export interface InvalidField {
  readonly path: string;
  readonly rule: string;
}

export interface ProblemOptions {
  /** What happened and what to do, for people */
  detail?: string;
  /** For invalid input */
  errors?: readonly InvalidField[];
  /** What a declared error of an operation carries */
  details?: unknown;
  /** Whether the same request may succeed later */
  retryable?: boolean;
  /** HTTP headers of the answer, such as `retry-after` */
  headers?: Readonly<Record<string, string>>;
  cause?: unknown;
}

/** Thrown by a route, it is the answer. Everything else that a route throws is a 500 that shows nothing. */
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

  /** The body of the answer. */
  toJSON(): object {
    const { status, code } = this;
    return { type: "about:blank", title: STATUS_CODES[status] ?? "Error", status, code, ...this.#members };
  }
}

/** @param code  in snake_case, stable: what programs look at */
export function problem(status: number, code: string, options?: ProblemOptions): HttpProblem {
  return new HttpProblem(status, code, options);
}

const known: Readonly<Record<number, { code: string; detail: string }>> = {
  400: { code: "invalid_request", detail: "The request cannot be understood." },
  408: { code: "request_too_slow", detail: "The request did not arrive in time." },
  413: { code: "message_too_large", detail: "The body is too large." },
  415: { code: "unsupported_media_type", detail: "The body's content type is not one that is understood here." },
  431: { code: "headers_too_large", detail: "The headers are too large." },
};

/** Of an error of HTTP itself. Its own text may quote the request, so it is not used. */
export function problemOfStatus(status: number): HttpProblem {
  const { code, detail } = known[status] ?? { code: "request_refused", detail: "The request was refused." };
  return new HttpProblem(status, code, { detail });
}

/** @returns undefined for an error that nobody expected */
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
    return problem(400, "invalid_request", { detail: "The request is not valid: see its errors.", errors });
  }
  if ("statusCode" in error && typeof error.statusCode === "number") {
    const { statusCode } = error;
    if (statusCode >= 400 && statusCode < 500) return problemOfStatus(statusCode);
  }
  return undefined;
}

/** Of Fastify's validation, by Ajv or by zod. */
function invalidField(issue: {
  instancePath?: string;
  message?: string;
  params?: { missingProperty?: string };
}): InvalidField {
  const path = (issue.instancePath ?? "").split("/").filter((part) => part !== "");
  const missing = issue.params?.missingProperty;
  if (missing !== undefined) return { path: [...path, missing].join("."), rule: "is required" };
  return { path: path.join("."), rule: (issue.message ?? "is not valid").replace(/\.$/, "") };
}
