import { type Logger, pino } from "pino";

export type { Logger };

const secret = ["password", "authorization", "cookie", "body", "content"];

/** Accepts complete lines. */
export interface LineWriter {
  write(lines: string): unknown;
}

/**
 * Creates a logger that writes JSON lines to stdout, or readable lines on a terminal. It leaves out credentials and
 * personal data.
 * @param level  one of the levels of `LOG_LEVEL`
 * @param terminal  receives the readable lines when stdout is a terminal
 */
export async function createLogger(
  service: string,
  level: string,
  terminal: LineWriter = process.stdout,
): Promise<Logger> {
  const options = {
    level,
    base: { service },
    timestamp: pino.stdTimeFunctions.isoTime,
    formatters: { level: (label: string) => ({ level: label }) },
    serializers: { err: describeError },
    redact: { paths: [...secret, ...secret.map((key) => `*.${key}`)], censor: "[redacted]" },
  };
  // Synchronous, so that no line is lost at the exit. pino ignores a stdout that nobody reads any more
  if (!process.stdout.isTTY) return pino(options, pino.destination({ fd: 1, sync: true }));
  // In this thread, so that no line is lost at the exit
  const { prettyFactory } = await import("pino-pretty");
  const readable = prettyFactory({ ignore: "pid,hostname,service", translateTime: "HH:MM:ss" });
  return pino(options, { write: (line: string) => terminal.write(readable(line)) });
}

interface ErrorDescription {
  type: string;
  message: string;
  code?: string;
  stack?: string;
  cause?: ErrorDescription;
}

/** Describes an error without personal or secret data: without its own fields, quoted values and credentials in URLs. */
export function describeError(error: unknown): ErrorDescription {
  if (!(error instanceof Error)) return { type: typeof error, message: "a value that is not an Error was thrown" };
  const code = "code" in error ? String(error.code) : undefined;
  // The stack begins with the message
  const frames = error.stack?.split("\n").filter((line) => /^ {4}at /.test(line));
  return {
    type: error.name,
    message: withoutValues(error, code),
    ...(code === undefined ? {} : { code }),
    ...(frames === undefined ? {} : { stack: frames.join("\n") }),
    ...(error.cause instanceof Error ? { cause: describeError(error.cause) } : {}),
  };
}

function withoutValues(error: Error, code: string | undefined): string {
  // JSON.parse quotes the text
  if (error instanceof SyntaxError) return "a text has a syntax error";
  const message = error.message.replaceAll(/(\w+:\/\/)\S*@/g, "$1…@");
  // The messages of PostgreSQL's data exceptions end with the value: invalid input syntax for type date: "…"
  return /^22[0-9A-Z]{3}$/.test(code ?? "") ? message.replace(/: ".*$/s, "") : message;
}
