import type { TlsOptions } from "./broker/tls.ts";
import { isObject, typeOf } from "./contract-checks.ts";
import type { System } from "./contract.ts";
import { UsageError } from "./errors.ts";
import type { SubscriberOptions } from "./notify/subscriber.ts";
import type { Logger } from "./telemetry/log.ts";

/** Options of `connect` and of the verbs that consume, and the checks of all options: a misspelt one would be ignored silently. */

export const defaultRetryDelaysMs: readonly number[] = [1_000, 5_000, 30_000, 120_000, 600_000];
/** AMQP encodes a prefetch in 16 bits. */
export const maxConcurrency = 65_535;
/** The broker requeues a message that is not acknowledged within 30 minutes (rabbitmq.com/docs/consumers#acknowledgement-timeout). */
const maxInPlaceMs = 25 * 60_000;

export interface ConnectOptions<S extends System, N extends keyof S & string> {
  /** Returned by `defineSystem`. */
  system: S;
  /** The name of this service in the system. */
  service: N;
  /** The version of this service, written into the headers of the messages that it dead-letters. @default none */
  version?: string;
  /** Receives log lines: pino, or an object with the same four methods. @default none */
  logger?: Logger;
  /** Aborts waiting for a broker that is not available yet. */
  signal?: AbortSignal;
  /** Time limit of `close` in milliseconds. @default 5000 */
  closeTimeoutMs?: number;
  /**
   * Certificates for amqps:// URLs. The broker's certificate must be valid, trusted and issued for the URL's host name: no option turns that
   * check off. @default the authorities that Node.js trusts
   */
  tls?: TlsOptions | undefined;
}

export interface ListenOptions {
  /** Messages buffered for a slow handler, in this process and in the queue. Beyond that the oldest is dropped and counted. @default 1000 */
  maxBuffered?: number;
}

interface AnySubscribeOptions {
  /** Delays before each further attempt, in milliseconds. After the last attempt the message is dead-lettered. @default [1000, 5000, 30000, 120000, 600000] */
  retryDelaysMs?: readonly number[];
  /**
   * Called when a handler has failed: resolves to false if a dependency of the handler, such as a database, is unavailable. Then the message is
   * requeued, no attempt is counted, and the subscription pauses until it resolves to true; `isReady` is false meanwhile. It is called again
   * after a tenth of the time that the pause has taken so far, at least half a second and at most 30 s. No answer within 5 s, and a rejection,
   * count as false. @default never called
   */
  isAvailable?: () => Promise<boolean>;
}

interface DelayedRetry extends AnySubscribeOptions {
  /** Messages handled at a time. 1 keeps the order, except for messages that are retried. @default 1 */
  concurrency?: number;
  retry?: undefined;
}

interface InPlaceRetry extends AnySubscribeOptions {
  concurrency?: 1;
  /**
   * `"in-place"`: a message whose handler failed keeps its place, and the messages behind it wait until it is handled or dead-lettered.
   * `retryDelaysMs` may then add up to 25 minutes, since the broker requeues a message that is not acknowledged within 30.
   * @default the message goes to the back of the queue after the delay, and the messages behind it are handled meanwhile
   */
  retry: "in-place";
}

export type SubscribeOptions = DelayedRetry | InPlaceRetry;

export interface RespondOptions {
  /** Requests handled at a time. @default 10 */
  concurrency?: number;
}

/** @throws {UsageError} options that are no object; naming each unknown option */
export function checkOptions(verb: string, options: object, known: readonly string[]): void {
  if (!isObject(options)) throw new UsageError(`${verb}: the options must be an object, not ${typeOf(options)}.`);
  const unknown = Object.keys(options).filter((option) => !known.includes(option));
  if (unknown.length > 0)
    throw new UsageError(`${verb}: unknown option ${unknown.join(", ")}. Known are ${known.join(", ")}.`);
}

/** @throws {UsageError} an option of `connect` that is missing or has the wrong type */
export function checkConnectOptions(options: ConnectOptions<System, string>): void {
  checkOptions("connect", options, ["system", "service", "version", "logger", "signal", "closeTimeoutMs", "tls"]);
  const { system, service, logger, signal, tls } = options;
  if (tls !== undefined) checkOptions("connect, tls", tls, ["ca", "cert", "key"]);
  if (!isObject(system))
    throw new UsageError(`connect: system must be what defineSystem returns, not ${typeOf(system)}.`);
  if (typeof service !== "string")
    throw new UsageError(`connect: service must be a name of the system, not ${typeOf(service)}.`);
  if (signal !== undefined && !hasMethod(signal, "throwIfAborted"))
    throw new UsageError(`connect: signal must be an AbortSignal, not ${typeOf(signal)}.`);
  if (logger === undefined) return;
  const levels = ["debug", "info", "warn", "error"] as const;
  const missing = levels.filter((level) => !hasMethod(logger, level));
  if (missing.length > 0)
    throw new UsageError(`connect: logger has no method ${missing.join(", ")}. Pass pino's logger, or console.`);
}

function hasMethod(value: unknown, name: string): boolean {
  return typeof Reflect.get(new Object(value), name) === "function";
}

/** @throws {UsageError} */
export function readSubscribeOptions(options: SubscribeOptions): Omit<SubscriberOptions, "service" | "version"> {
  checkOptions("subscribe", options, ["concurrency", "retryDelaysMs", "retry", "isAvailable"]);
  const { concurrency = 1, retryDelaysMs = defaultRetryDelaysMs, retry, isAvailable } = options;
  positive("concurrency", concurrency, maxConcurrency);
  retryDelaysMs.forEach((delayMs) => positive("each of retryDelaysMs", delayMs));
  const isRetriedInPlace = retry === "in-place";
  if (retry !== undefined && !isRetriedInPlace)
    throw new UsageError(`subscribe: retry may only be "in-place", not ${JSON.stringify(retry)}.`);
  if (isRetriedInPlace && concurrency !== 1)
    throw new UsageError(
      `subscribe: with retry "in-place" concurrency must be 1, not ${concurrency}: a message blocks those behind it.`,
    );
  const heldMs = retryDelaysMs.reduce((sum, delayMs) => sum + delayMs, 0);
  if (isRetriedInPlace && heldMs > maxInPlaceMs) {
    const minutes = maxInPlaceMs / 60_000;
    throw new UsageError(
      `subscribe: with retry "in-place" retryDelaysMs may add up to ${minutes} minutes: the broker redelivers what is not acknowledged within 30.`,
    );
  }
  if (isAvailable !== undefined && typeof isAvailable !== "function")
    throw new UsageError("subscribe: isAvailable must be a function.");
  return { concurrency, retryDelaysMs, isRetriedInPlace, isAvailable };
}

/** @throws {UsageError} */
export function positive(option: string, value: number, largest = 2 ** 31 - 1): number {
  if (Number.isSafeInteger(value) && value > 0 && value <= largest) return value;
  throw new UsageError(`${option} must be a whole number from 1 to ${largest}, not ${String(value)}.`);
}
