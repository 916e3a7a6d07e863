/** A logger with pino's signature: fields first, then the message. */
export interface Logger {
  debug(facts: object, message: string): void;
  info(facts: object, message: string): void;
  warn(facts: object, message: string): void;
  error(facts: object, message: string): void;
}

const ignore = (): void => undefined;
export const silent: Logger = { debug: ignore, info: ignore, warn: ignore, error: ignore };

/** The code of an error, such as AMQP_KIT_REJECT, ECONNREFUSED or PostgreSQL's 23505. Undefined if it does not look like a code: it may be a value. */
export function codeIn(error: unknown): string | undefined {
  const code = error instanceof Error ? textOf(error, "code") : "";
  return /^[A-Z0-9_]{1,100}$/.test(code) ? code : undefined;
}

/** Fields about anything that was thrown. The message of a foreign error may quote a patient; its name, code and stack frames do not. */
export function withoutValues(error: unknown): { error: string; at?: string[] } {
  if (!(error instanceof Error)) return { error: "not an Error" };
  const code = codeIn(error);
  const at = textOf(error, "stack")
    .split("\n")
    .filter((line) => /^\s+at /.test(line));
  return {
    error: `${textOf(error, "name") || "Error"}${code === undefined ? "" : ` (${code})`}`,
    at: at.map((line) => line.trim()),
  };
}

/** The message of an error of the kit, of amqplib or of the network. */
export function messageOf(error: unknown): string {
  return error instanceof Error ? textOf(error, "message") || textOf(error, "code") : typeof error;
}

/** Reads a property of something that was thrown: it may have any type, or be a getter that throws. */
function textOf(error: Error, property: "name" | "message" | "code" | "stack"): string {
  try {
    const value: unknown = property in error ? Reflect.get(error, property) : "";
    return typeof value === "string" ? value : "";
  } catch {
    return "";
  }
}
