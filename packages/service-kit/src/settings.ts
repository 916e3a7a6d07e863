import { existsSync, readFileSync } from "node:fs";
import { dirname, join, resolve } from "node:path";
import { Temporal } from "temporal-polyfill";
import { z } from "zod";

/** Environment variables as typed values. */
export type Environment = Readonly<Record<string, string | undefined>>;

/** Reads one setting from its variable or variables. @throws {SettingsError} */
export type Setting<T> = (environment: Environment) => T;

export type Settings<S> = { readonly [K in keyof S]: S[K] extends Setting<infer T> ? T : never };

/** Lists all invalid variables. Each fault names a variable and its rule, never the value of a secret. */
export class SettingsError extends Error {
  override readonly name = "SettingsError";
  readonly faults: readonly string[];
  constructor(faults: readonly string[]) {
    super(`Invalid environment variables:\n${faults.map((fault) => `  - ${fault}`).join("\n")}`);
    this.faults = faults;
  }
}

/** Reads all settings. @throws {SettingsError} with the faults of all of them */
export function readSettings<S extends Readonly<Record<string, Setting<unknown>>>>(
  declared: S,
  environment: Environment,
): Settings<S> {
  const faults: string[] = [];
  const values = Object.entries(declared).map(([name, setting]) => {
    try {
      return [name, setting(environment)];
    } catch (error) {
      if (!(error instanceof SettingsError)) throw error;
      faults.push(...error.faults);
      return [name, undefined];
    }
  });
  if (faults.length > 0) throw new SettingsError(faults);
  return Object.fromEntries(values) as Settings<S>;
}

/**
 * Declares a setting from one environment variable. An empty variable counts as unset.
 * @param schema  parses the text, or undefined when unset. Its messages follow the variable's name: "must be …"
 * @example
 * const settings = { speed: variable("SPEED", wholeNumber(1, 1_000).default(10)) };
 */
export function variable<T>(name: string, schema: z.ZodType<T>): Setting<T> {
  return (environment) => {
    const text = textOf(environment, name);
    return parse(name, schema, text, text === undefined ? "" : `, but is "${text}"`);
  };
}

/** Like `variable`, but the value may be in a file instead, whose path is in `NAME_FILE`, and no message shows it. */
export function secretVariable<T>(name: string, schema: z.ZodType<T>): Setting<T> {
  return (environment) => parse(name, schema, secretOf(environment, name), "");
}

function parse<T>(name: string, schema: z.ZodType<T>, text: string | undefined, shown: string): T {
  const result = schema.safeParse(text);
  if (result.success) return result.data;
  throw new SettingsError(result.error.issues.map(({ message }) => `${name} ${message}${shown}`));
}

function textOf(environment: Environment, name: string): string | undefined {
  const text = environment[name]?.trim();
  return text === "" ? undefined : text;
}

function secretOf(environment: Environment, name: string): string | undefined {
  const value = textOf(environment, name);
  const file = textOf(environment, `${name}_FILE`);
  if (file === undefined) return value;
  if (value !== undefined) throw new SettingsError([`${name} and ${name}_FILE are both set: unset one of them`]);
  return contentOf(file, `${name}_FILE`);
}

function contentOf(file: string, name: string): string {
  let content: string;
  try {
    content = readFileSync(file, "utf8").trim();
  } catch (error) {
    const code = error instanceof Error && "code" in error ? String(error.code) : "unknown error";
    throw new SettingsError([`${name} must name a readable file, but ${file} cannot be read (${code})`]);
  }
  if (content === "") throw new SettingsError([`${name} names an empty file: ${file}`]);
  return content;
}

const pem = {
  certificate: /-----BEGIN CERTIFICATE-----/,
  "private key without a passphrase": /-----BEGIN (EC |RSA )?PRIVATE KEY-----/,
};

/** Reads a PEM file. No message shows its content. */
function pemFile(name: string, holding: keyof typeof pem): Setting<string | undefined> {
  return (environment) => {
    const file = textOf(environment, name);
    if (file === undefined) return undefined;
    const content = contentOf(file, name);
    if (pem[holding].test(content)) return content;
    throw new SettingsError([`${name} must name a PEM file with a ${holding}, but ${file} has none`]);
  };
}

/** The option `tls` of `connect`. */
interface TlsSettings {
  readonly ca: string | undefined;
  readonly cert: string | undefined;
  readonly key: string | undefined;
}

function tls(environment: Environment): TlsSettings | undefined {
  const files = readSettings(
    {
      ca: pemFile("AMQP_CA_FILE", "certificate"),
      cert: pemFile("AMQP_CERT_FILE", "certificate"),
      key: pemFile("AMQP_KEY_FILE", "private key without a passphrase"),
    },
    environment,
  );
  if ((files.cert === undefined) !== (files.key === undefined))
    throw new SettingsError(["AMQP_CERT_FILE and AMQP_KEY_FILE belong together: set both or neither"]);
  return files.ca === undefined && files.cert === undefined ? undefined : files;
}

/** A schema for a whole number from `smallest` to `largest`, both inclusive. */
export function wholeNumber(smallest: number, largest: number): z.ZodType<number> {
  const isWithin = (text: string): boolean =>
    /^\d{1,15}$/.test(text) && Number(text) >= smallest && Number(text) <= largest;
  const error = `must be a whole number from ${smallest} to ${largest}`;
  return z.string().refine(isWithin, { error }).transform(Number);
}

const brokerUrls = z
  .string()
  // A password may hold a comma, so the list is split only where a URL's scheme follows
  .transform((text) => text.split(/,(?=\s*amqps?:\/\/)/).map((url) => url.trim()))
  .refine((urls) => urls.every((url) => isUrl(url, ["amqp:", "amqps:"])), {
    error:
      "must be a complete URL like amqp://user:password@host:5672/virtual-host, or several of them, separated by commas",
  })
  .default(["amqp://127.0.0.1:5672"]);

const databaseUrl = z
  .string()
  .refine((text) => isUrl(text, ["postgres:", "postgresql:"]), {
    error: "must be a URL like postgres://user:password@host:5432/database",
  })
  .optional();

function isUrl(text: string, protocols: readonly string[]): boolean {
  if (!URL.canParse(text)) return false;
  const { protocol, hostname } = new URL(text);
  return protocols.includes(protocol) && !hostname.includes(",");
}

const logLevels = ["fatal", "error", "warn", "info", "debug", "trace", "silent"] as const;

/** The settings of every service. @param port  the service's default port */
export const serviceSettings = (port: number) => ({
  /** URLs without credentials use RabbitMQ's guest account. */
  amqpUrls: secretVariable("AMQP_URL", brokerUrls),
  /** For `amqps://`: authorities to trust, and the client certificate with its key. */
  tls,
  host: variable("HOST", z.string().default("127.0.0.1")),
  port: variable("PORT", wholeNumber(0, 65_535).default(port)),
  rateLimitPerMinute: variable("RATE_LIMIT_PER_MINUTE", wholeNumber(1, 1_000_000).optional()),
  logLevel: variable(
    "LOG_LEVEL",
    z.enum(logLevels, { error: `must be one of ${logLevels.join(", ")}` }).default("info"),
  ),
  stopTimeoutMs: variable("STOP_TIMEOUT_MS", wholeNumber(100, 3_600_000).default(8_000)),
});

/** The first argument of the outbox's `openDatabase`: a PostgreSQL URL, or the embedded database's folder (`memory://`: none). */
export type DatabaseSettings = { readonly url: string } | { readonly dataDir: string };

/** Reads `DATABASE_URL`, else `DATA_DIR` (the folder named after the service in it), else uses `.data` in the service's folder. */
export const databaseSettings = (service: string): { database: Setting<DatabaseSettings> } => ({
  database: (environment) => {
    const url = secretVariable("DATABASE_URL", databaseUrl)(environment);
    if (url !== undefined) return { url };
    const dataDir = textOf(environment, "DATA_DIR");
    if (dataDir === undefined) return { dataDir: join(serviceFolder(), ".data") };
    return { dataDir: dataDir === "memory://" ? dataDir : resolve(dataDir, service) };
  },
});

/** The workspace of the running program: the nearest folder with a package.json. */
function serviceFolder(): string {
  let folder = dirname(resolve(process.argv[1] ?? "."));
  while (!existsSync(join(folder, "package.json")) && dirname(folder) !== folder) folder = dirname(folder);
  return folder;
}

/** Asks the library that the services calculate with. `Intl` accepts more names, such as IST and PST. */
function isTimeZone(name: string): boolean {
  try {
    Temporal.Now.instant().toZonedDateTimeISO(name);
    return true;
  } catch {
    return false;
  }
}

/** The setting `TIME_ZONE`: an IANA name such as Europe/London. */
export const timeZoneSetting = {
  timeZone: variable(
    "TIME_ZONE",
    z.string().refine(isTimeZone, { error: "must be a time zone's name like Europe/London" }).default("Europe/London"),
  ),
};
