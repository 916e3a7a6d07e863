import { setTimeout as sleep } from "node:timers/promises";
import type { ConsumeMessage } from "amqplib";
import { backoffMs } from "./connection.ts";
import type { Channel, Connection } from "./connection.ts";
import { ClosedError, TopologyError } from "./errors.ts";
import { told } from "./telemetry.ts";
import type { Logger } from "./telemetry.ts";

/** Consumes, survives whatever happens to channel, queue and connection, and drains when stopped. Knows no idiom. */

/** How often what must stand on the broker is looked after: the documented time until a deleted exchange, queue or binding is back. */
export const refreshMs = 5_000;
const maxRestartDelayMs = 5_000;

export interface ConsumerOptions {
  /** For logs: what is consumed. */
  name: string;
  /** Deliveries in hand at a time; undefined: without acknowledgement, at the broker's full speed. */
  prefetch: number | undefined;
  /** Declares and binds. @returns the queue to consume */
  setUp: () => Promise<string>;
  /** Looks after what was set up, every `refreshMs`. A rejection sets everything up anew. */
  refresh: (queue: string) => Promise<void>;
  /** Resolves when the message is settled; never rejects. */
  onMessage: (delivery: Incoming) => Promise<void> | void;
  /** The channel and all that was in hand on it is lost. */
  onLost?: (reason: Error) => void;
  logger: Logger;
}

/** A message with the channel that it came on: settled once, and only there. */
export class Incoming {
  readonly message: ConsumeMessage;
  /** Aborts when the channel is lost, or `close` runs out of time. */
  readonly abort = new AbortController();
  readonly #channel: Channel;
  #isSettled = false;

  constructor(message: ConsumeMessage, channel: Channel) {
    this.message = message;
    this.#channel = channel;
  }

  /** On a lost channel it does nothing: the broker hands the message out again. */
  ack(): void {
    this.#settle(() => this.#channel.raw.ack(this.message));
  }

  /** Not now: the broker hands it out again at once. */
  giveBack(): void {
    this.#settle(() => this.#channel.raw.nack(this.message, false, true));
  }

  #settle(how: () => void): void {
    if (this.#isSettled || !this.#channel.isOpen) return;
    this.#isSettled = true;
    how();
  }
}

export class Consumer {
  readonly #connection: Connection;
  readonly #options: ConsumerOptions;
  readonly #stopping = new AbortController();
  readonly #inHand = new Set<Incoming>();
  #channel: Channel | undefined;
  #queue: string | undefined;
  #standing = Promise.withResolvers<string>();
  #onDrained: (() => void) | undefined;
  isStanding = false;

  constructor(connection: Connection, options: ConsumerOptions) {
    this.#connection = connection;
    this.#options = options;
  }

  /**
   * Resolves once the consumer stands on the broker for the first time; from then on it comes back by itself.
   * @throws {TopologyError} at the first time, what no waiting mends
   */
  async start(): Promise<void> {
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    void this.#run(resolve, reject);
    await promise;
  }

  /** The queue that is consumed now; it may be another one after the next loss. */
  get queue(): string | undefined {
    return this.isStanding ? this.#queue : undefined;
  }

  /** Resolves with the queue once it is consumed. @throws {ClosedError} it was stopped meanwhile */
  async standing(): Promise<string> {
    return this.#standing.promise;
  }

  /** Takes no more, and waits for what is in hand. */
  async stop(): Promise<void> {
    this.#stopping.abort();
    this.#standing.promise.catch(() => undefined);
    this.#standing.reject(new ClosedError(`The consumer of ${this.#options.name} was stopped.`));
    const channel = this.#channel;
    if (channel?.isOpen === true) await Promise.race([channel.raw.cancel(tag).catch(() => undefined), channel.lost]);
    if (this.#inHand.size > 0) {
      const { promise, resolve } = Promise.withResolvers<void>();
      this.#onDrained = resolve;
      await promise;
    }
    await channel?.close();
  }

  /** Tells every handler at work that its time is up. */
  abort(reason: Error): void {
    for (const { abort } of this.#inHand) abort.abort(reason);
  }

  async #run(onStanding: () => void, onFailure: (error: unknown) => void): Promise<void> {
    const { name, logger } = this.#options;
    const stopping = this.#stopping.signal;
    let hasStood = false;
    for (let failures = 0; !stopping.aborted;) {
      try {
        const channel = await this.#consume();
        if (stopping.aborted) {
          await channel.close();
          break;
        }
        failures = 0;
        hasStood = true;
        onStanding();
        const reason = await this.#untilLost(channel);
        if (stopping.aborted) break;
        logger.warn({ consumer: name }, `consumer lost: ${told(reason)}; setting it up again`);
      } catch (error) {
        await this.#channel?.close();
        if (stopping.aborted) break;
        if (!hasStood && error instanceof TopologyError) {
          onFailure(error);
          return;
        }
        const delayMs = Math.min(maxRestartDelayMs, backoffMs(failures++));
        logger.warn({ consumer: name, delayMs: Math.round(delayMs) }, `cannot consume: ${told(error)}`);
        await sleep(delayMs, undefined, { signal: stopping }).catch(() => undefined);
      }
    }
    onFailure(new ClosedError(`The consumer of ${name} was stopped before it stood.`));
  }

  async #consume(): Promise<Channel> {
    const { setUp, prefetch } = this.#options;
    const queue = await setUp();
    const channel = await this.#connection.channel();
    this.#channel = channel;
    this.#queue = queue;
    if (prefetch !== undefined) await channel.raw.prefetch(prefetch);
    await channel.raw.consume(queue, (message) => this.#onMessage(message, channel), {
      consumerTag: tag,
      noAck: prefetch === undefined,
    });
    this.isStanding = channel.isOpen;
    if (this.isStanding) this.#standing.resolve(queue);
    return channel;
  }

  #onMessage(message: ConsumeMessage | null, channel: Channel): void {
    if (message === null) {
      // The broker cancelled: the queue was deleted, or its node went away.
      void channel.close();
      return;
    }
    const incoming = new Incoming(message, channel);
    if (this.#stopping.signal.aborted) {
      if (this.#options.prefetch !== undefined) incoming.giveBack();
      return;
    }
    void this.#handle(incoming);
  }

  async #handle(incoming: Incoming): Promise<void> {
    const { onMessage, name, logger } = this.#options;
    this.#inHand.add(incoming);
    try {
      await onMessage(incoming);
    } catch (error) {
      logger.error({ consumer: name }, `a message was left unsettled: ${told(error)}`);
    }
    this.#inHand.delete(incoming);
    if (this.#inHand.size === 0) this.#onDrained?.();
  }

  async #untilLost(channel: Channel): Promise<Error> {
    const lookAfter = async (): Promise<void> => {
      await this.#refresh(channel);
      if (channel.isOpen) refresh.refresh();
    };
    // One look at a time: on a dead link they would pile up.
    const refresh = setTimeout(() => void lookAfter(), refreshMs);
    const reason = await channel.lost;
    clearTimeout(refresh);
    this.isStanding = false;
    this.#standing = Promise.withResolvers();
    for (const { abort } of this.#inHand) abort.abort(reason);
    this.#options.onLost?.(reason);
    return reason;
  }

  async #refresh(channel: Channel): Promise<void> {
    try {
      await this.#options.refresh(this.#queue ?? "");
    } catch (error) {
      if (!channel.isOpen || this.#stopping.signal.aborted) return;
      this.#options.logger.warn({ consumer: this.#options.name }, `what it consumes is not in order: ${told(error)}`);
      await channel.close();
    }
  }
}

/** Each consumer has a channel of its own, and tags need to differ within a channel only. */
const tag = "amqp-kit";
