import type { Intervals } from "./broker/intervals.ts";
import type { System } from "./contract.ts";
import { checkConnectOptions } from "./options.ts";
import type { ConnectOptions } from "./options.ts";
import { Session } from "./session.ts";
import type { Amqp } from "./verbs.ts";

/**
 * Connects one service of a system and declares what it needs on the broker. Waits for a broker that is not available yet.
 * @param urls  one AMQP URL, or several of one cluster, as a list or with commas between them: if one fails, the next is tried
 * @returns the verbs of the service's roles, and `close`
 * @throws {ConnectionError} {TopologyError} immediately, if no retry can succeed: wrong credentials, virtual host, certificates, permissions, or
 *   an exchange or queue that exists with different arguments
 * @throws {UsageError} certificates that cannot be read; a service that the system does not name; an option that is missing or has the wrong type
 * @throws the signal's reason when it aborts
 * @example
 * await using amqp = await connect("amqp://localhost", { system, service: "till", logger });
 * await amqp.notify(orderPlaced, { order: 7 });
 */
export async function connect<S extends System, N extends keyof S & string>(
  urls: string | readonly string[],
  options: ConnectOptions<S, N>,
): Promise<Amqp<S[N]>> {
  return connectWith({}, urls, options);
}

/** Connects like `connect`, with intervals that tests shorten. */
export async function connectWith<S extends System, N extends keyof S & string>(
  intervals: Partial<Intervals>,
  urls: string | readonly string[],
  options: ConnectOptions<S, N>,
): Promise<Amqp<S[N]>> {
  checkConnectOptions(options);
  options.signal?.throwIfAborted();
  const session = new Session(urls, options, intervals);
  const aborted = Promise.withResolvers<never>();
  const onAbort = (): void => aborted.reject(options.signal?.reason);
  options.signal?.addEventListener("abort", onAbort);
  try {
    await Promise.race([session.open(), aborted.promise]);
  } catch (error) {
    await session.close(options.signal?.aborted === true ? 0 : undefined);
    throw error;
  } finally {
    options.signal?.removeEventListener("abort", onAbort);
  }
  return session;
}
