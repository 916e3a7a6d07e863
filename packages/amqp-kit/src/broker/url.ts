import { isIP } from "node:net";
import type { SecureContext } from "node:tls";
import { secureContext } from "./tls.ts";
import type { TlsOptions } from "./tls.ts";
import { ConnectionError } from "../errors.ts";

const minHeartbeatSeconds = 5;

export interface Endpoint {
  protocol: "amqp" | "amqps";
  hostname: string;
  port: number;
  username: string;
  password: string;
  virtualHost: string;
  heartbeat: number | undefined;
  /** Undefined: the authorities that Node.js trusts, and no client certificate. */
  secureContext: SecureContext | undefined;
}

/** The address of an endpoint, without its credentials. */
export function nameOf({ protocol, hostname, port, virtualHost }: Endpoint): string {
  return `${protocol}://${isIP(hostname) === 6 ? `[${hostname}]` : hostname}:${port}, virtual host "${virtualHost}"`;
}

/**
 * Reads one or several AMQP URLs, as a list or as text with commas between them (rabbitmq.com/docs/uri-spec; an empty path means the virtual
 * host "/", as in amqplib).
 * @throws {ConnectionError} names the fault, never the URL
 * @throws {UsageError} invalid `tls` options
 */
export function readUrls(urls: string | readonly string[], tls?: TlsOptions): Endpoint[] {
  const list: unknown = typeof urls === "string" ? splitUrls(urls) : urls;
  if (!Array.isArray(list)) throw unusable(wrongType(list));
  if (list.length === 0) throw unusable("none is given");
  const context = tls && secureContext(tls);
  const endpoints = list.map((url: unknown) => readUrl(url, context));
  if (context !== undefined && endpoints.every(({ protocol }) => protocol === "amqp"))
    throw unusable("certificates are given, but it begins with amqp://, which is not encrypted: write amqps://");
  return endpoints;
}

function wrongType(url: unknown): string {
  return `it must be a string, not ${url === null ? "null" : typeof url}: check that the setting it comes from is set`;
}

/** A password may hold a comma, so the list is split only where a URL's scheme follows. */
function splitUrls(urls: string): string[] {
  return urls.split(/,(?=\s*amqps?:\/\/)/).map((url) => url.trim());
}

function readUrl(text: unknown, context: SecureContext | undefined): Endpoint {
  if (typeof text !== "string") throw unusable(wrongType(text));
  // A URL parser would read a part of such a password as port, path or option, and an error would show it.
  if (/^\w+:\/\/[^/?#]*[/?#].*@/.test(text))
    throw unusable("/, ?, # and @ in user, password and virtual host must be percent-encoded");
  const url = URL.canParse(text) ? new URL(text) : undefined;
  if ((url?.protocol !== "amqp:" && url?.protocol !== "amqps:") || url.hostname === "")
    throw unusable("it must begin with amqp:// or amqps:// and name a host");
  if (url.hostname.includes(",")) throw unusable("each of several must begin with amqp:// or amqps://");
  const protocol = url.protocol === "amqp:" ? "amqp" : "amqps";
  const path = url.pathname.slice(1);
  if (path !== "/" && path.includes("/")) throw unusable('a "/" within the virtual host\'s name must be written %2F');
  for (const option of url.searchParams.keys()) {
    if (option !== "heartbeat") throw unusable(`unknown option "${option}"; the only option is heartbeat`);
  }
  const heartbeat = url.searchParams.get("heartbeat");
  if (heartbeat !== null && !(/^\d{1,5}$/.test(heartbeat) && Number(heartbeat) >= minHeartbeatSeconds)) {
    throw unusable(`heartbeat must be at least ${minHeartbeatSeconds} seconds: shorter ones close healthy connections`);
  }
  const anonymous = url.username === "" && url.password === "";
  return {
    protocol,
    hostname: url.hostname.replace(/^\[|\]$/g, ""),
    port: url.port === "" ? (protocol === "amqp" ? 5672 : 5671) : Number(url.port),
    username: anonymous ? "guest" : unescaped(url.username),
    password: anonymous ? "guest" : unescaped(url.password),
    virtualHost: path === "/" ? "/" : unescaped(path) || "/",
    heartbeat: heartbeat === null ? undefined : Number(heartbeat),
    secureContext: protocol === "amqps" ? context : undefined,
  };
}

function unescaped(part: string): string {
  try {
    return decodeURIComponent(part);
  } catch {
    throw unusable("user, password and virtual host must be percent-encoded UTF-8");
  }
}

function unusable(why: string): ConnectionError {
  return new ConnectionError(`Invalid AMQP URL: ${why}.`, { retryable: false });
}
