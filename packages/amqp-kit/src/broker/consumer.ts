import { setTimeout as sleep } from "node:timers/promises";
import type { ConsumeMessage } from "amqplib";
import { backoffMs } from "./backoff.ts";
import type { Channel } from "./channel.ts";
import type { Connection } from "./connection.ts";
import { Gate } from "./deadline.ts";
import type { Deadline } from "./deadline.ts";
import { ClosedError, TopologyError } from "../errors.ts";
import { messageOf } from "../telemetry/log.ts";
import type { Logger } from "../telemetry/log.ts";

/** Consumes, survives whatever happens to channel, queue and connection, and drains when stopped. Knows no idiom. */

const maxRestartDelayMs = 5_000;

export interface ConsumerOptions {
  /** For logs: what is consumed. */
  name: string;
  /** Messages in hand at a time; undefined: without acknowledgement, at the broker's full speed. */
  prefetch: number | undefined;
  /**
   * Whether a message must be handled while no other is in hand, because it may take all that are along. Then messages are taken one at
   * a time until one comes that need not. @default none must
   */
  isSuspect?: (message: ConsumeMessage) => boolean;
  /** Declares and binds. @returns the queue to consume */
  setUp: () => Promise<string>;
  /** Looks after what was set up, every `refreshMs` of the connection. A rejection sets everything up anew. */
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
  readonly channel: Channel;
  #isSettled = false;

  constructor(message: ConsumeMessage, channel: Channel) {
    this.message = message;
    this.channel = channel;
  }

  /** On a lost channel it does nothing: the broker hands the message out again. */
  ack(): void {
    this.#settle(() => this.channel.raw.ack(this.message));
  }

  /** Not now: the broker hands it out again at once. */
  requeue(): void {
    this.#settle(() => this.channel.raw.nack(this.message, false, true));
  }

  #settle(how: () => void): void {
    if (this.#isSettled || !this.channel.isOpen) return;
    this.#isSettled = true;
    try {
      how();
    } catch {
      // amqplib, which is closing the channel for a reason of its own: as good as lost, and `isOpen` does not say so yet
    }
  }
}

/** Of what is consumed: the first message in hand, or all; and those beyond the first. */
type Part = "first" | "wider";

export class Consumer {
  readonly #connection: Connection;
  readonly #options: ConsumerOptions;
  readonly #stopping = new AbortController();
  /** Each with what resolves when it is done. */
  readonly #inFlight = new Map<Incoming, Promise<void>>();
  /**
   * Delivered, and not in hand yet: what the broker sends before it knows of a hold, and, after one, what a new consumer brings, whose
   * prefetch is a whole one, whatever is still in hand from before.
   */
  readonly #waiting: Incoming[] = [];
  #channel: Channel | undefined;
  #queue: string | undefined;
  readonly #consumingGate = new Gate();
  /** Reasons for which nothing is taken now. */
  #holds = 0;
  /** With `isSuspect`: as many are taken as `prefetch` says, not one at a time. */
  #isWide = false;
  /** The consumers that stand on the channel, with their tags. */
  #consumed = new Map<Part, string>();
  #adjusting: Promise<unknown> = Promise.resolve();
  isConsuming = false;

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
    return this.isConsuming ? this.#queue : undefined;
  }

  /** Resolves once the queue is consumed. @throws {ClosedError} it was stopped; `expired()` at the limit */
  async whenConsuming(deadline: Deadline, expired: () => Error): Promise<void> {
    if (this.#stopping.signal.aborted) throw this.#stopped();
    if (!this.isConsuming) await this.#consumingGate.pass(deadline, expired);
  }

  #stopped(): ClosedError {
    return new ClosedError(`The consumer of ${this.#options.name} was stopped.`);
  }

  /** Takes no more, and waits for what is in hand. */
  async stop(): Promise<void> {
    this.#stopping.abort();
    this.#consumingGate.fail(this.#stopped());
    const channel = this.#channel;
    if (channel?.isOpen === true) await Promise.race([this.#adjust().catch(() => undefined), channel.lost]);
    this.#requeueWaiting();
    await Promise.all(this.#inFlight.values());
    await channel?.close();
  }

  /**
   * Takes no more for now; what is in hand goes on. Resolves once the broker hands out nothing more.
   * @returns what ends it
   */
  async hold(): Promise<() => void> {
    this.#holds++;
    // On a lost channel nothing comes any more, and the next one begins with this
    await this.#adjust().catch(() => undefined);
    this.#requeueWaiting();
    return () => {
      this.#holds--;
      void this.#adjust().catch(() => undefined);
    };
  }

  /** Tells every handler at work that its time is up. */
  abort(reason: Error): void {
    for (const { abort } of this.#inFlight.keys()) abort.abort(reason);
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
        logger.warn({ consumer: name }, `consumer lost: ${messageOf(reason)}; setting it up again`);
      } catch (error) {
        await this.#channel?.close();
        if (stopping.aborted) break;
        if (!hasStood && error instanceof TopologyError) {
          onFailure(error);
          return;
        }
        const delayMs = Math.min(maxRestartDelayMs, backoffMs(failures++));
        logger.warn({ consumer: name, delayMs: Math.round(delayMs) }, `cannot consume: ${messageOf(error)}`);
        await sleep(delayMs, undefined, { signal: stopping }).catch(() => undefined);
      }
    }
    onFailure(new ClosedError(`The consumer of ${name} was stopped before it stood.`));
  }

  async #consume(): Promise<Channel> {
    const queue = await this.#options.setUp();
    const channel = await this.#connection.channel();
    this.#channel = channel;
    this.#queue = queue;
    this.#consumed = new Map();
    this.#isWide = false;
    await this.#adjust();
    this.isConsuming = channel.isOpen;
    if (this.isConsuming) this.#consumingGate.open();
    return channel;
  }

  get #isHeld(): boolean {
    return this.#holds > 0 || this.#stopping.signal.aborted;
  }

  /** What is to be consumed now, with its prefetch. A consumer's prefetch cannot be changed, so a second one takes what is more than one. */
  #wanted(): Map<Part, number | undefined> {
    const { prefetch, isSuspect } = this.#options;
    if (this.#isHeld) return new Map();
    if (prefetch === undefined || isSuspect === undefined) return new Map([["first", prefetch]]);
    const first = ["first", 1] as const;
    return new Map(this.#isWide ? [first, ["wider", prefetch - 1]] : [first]);
  }

  /** Consumes what is wanted and cancels what is not: one change at a time, so that none overtakes another. */
  #adjust(): Promise<void> {
    const adjusted = this.#adjusting.then(() => this.#connection.withWatchdog(() => this.#adjustNow()));
    this.#adjusting = adjusted.catch(() => undefined);
    return adjusted;
  }

  async #adjustNow(): Promise<void> {
    const channel = this.#channel;
    const consumed = this.#consumed;
    if (channel?.isOpen !== true) return;
    const wanted = this.#wanted();
    for (const [part, consumerTag] of [...consumed].filter(([one]) => !wanted.has(one))) {
      consumed.delete(part);
      await channel.raw.cancel(consumerTag);
    }
    for (const [part, prefetch] of wanted) {
      if (consumed.has(part)) continue;
      if (prefetch !== undefined) await channel.raw.prefetch(prefetch);
      const onMessage = (message: ConsumeMessage | null): void => this.#onMessage(message, channel);
      // The broker makes up a tag. Under one that was used before, late acknowledgements would count as room for more
      const { consumerTag } = await channel.raw.consume(this.#queue ?? "", onMessage, {
        noAck: prefetch === undefined,
      });
      consumed.set(part, consumerTag);
    }
  }

  #onMessage(message: ConsumeMessage | null, channel: Channel): void {
    if (message === null) {
      void channel.close(new Error(cancelled));
      return;
    }
    // Delivered without acknowledgement, it cannot be given back
    if (this.#isHeld && this.#options.prefetch === undefined) return;
    this.#waiting.push(new Incoming(message, channel));
    this.#takeWaiting();
  }

  /** In the order in which they came. */
  #takeWaiting(): void {
    while (!this.#isHeld && !this.#isFull) {
      const incoming = this.#waiting.shift();
      if (incoming === undefined) return;
      if (incoming.channel.isOpen) this.#take(incoming);
    }
  }

  /** What is in hand on a lost channel leaves room: another one may have its message. */
  get #isFull(): boolean {
    const { prefetch = Infinity } = this.#options;
    return this.#inFlight.size >= prefetch && this.#inFlightOn(this.#channel).length >= prefetch;
  }

  #take(incoming: Incoming): void {
    const { isSuspect, prefetch = 1 } = this.#options;
    const isSuspected = isSuspect?.(incoming.message) === true;
    // Taken one at a time it is alone already
    const done = isSuspected && this.#isWide ? this.#handleAlone(incoming) : this.#handle(incoming);
    const over = (): void => {
      this.#inFlight.delete(incoming);
      this.#takeWaiting();
    };
    this.#inFlight.set(incoming, done.then(over));
    if (isSuspect === undefined || isSuspected || this.#isWide || prefetch === 1) return;
    this.#isWide = true;
    void this.#adjust().catch(() => undefined);
  }

  #inFlightOn(channel: Channel | undefined): Promise<void>[] {
    return [...this.#inFlight].filter(([incoming]) => incoming.channel === channel).map(([, done]) => done);
  }

  #requeueWaiting(): void {
    for (const incoming of this.#waiting.splice(0)) incoming.requeue();
  }

  /** A handler that never returns is waited for as long as its channel stands: when that is lost, another one may have its message. */
  async #handleAlone(incoming: Incoming): Promise<void> {
    const { channel } = incoming;
    const others = this.#inFlightOn(channel);
    this.#isWide = false;
    const resume = await this.hold();
    await Promise.race([Promise.all(others), channel.lost]);
    const isStopping = this.#stopping.signal.aborted;
    if (isStopping) incoming.requeue();
    const done = channel.isOpen && !isStopping ? this.#handle(incoming) : Promise.resolve();
    await Promise.race([done, channel.lost]);
    resume();
    await done;
  }

  async #handle(incoming: Incoming): Promise<void> {
    const { onMessage, name, logger } = this.#options;
    try {
      await onMessage(incoming);
    } catch (error) {
      logger.error({ consumer: name }, `a message was left unsettled: ${messageOf(error)}`);
    }
  }

  async #untilLost(channel: Channel): Promise<Error> {
    const lookAfter = async (): Promise<void> => {
      await this.#refresh(channel);
      if (channel.isOpen) refresh.refresh();
    };
    // One look at a time: on a dead link they would pile up.
    const refresh = setTimeout(() => void lookAfter(), this.#connection.refreshMs);
    const reason = await channel.lost;
    clearTimeout(refresh);
    this.isConsuming = false;
    for (const { abort } of this.#inFlight.keys()) abort.abort(reason);
    this.#options.onLost?.(reason);
    return reason;
  }

  async #refresh(channel: Channel): Promise<void> {
    try {
      await this.#options.refresh(this.#queue ?? "");
    } catch (error) {
      if (!channel.isOpen || this.#stopping.signal.aborted) return;
      this.#options.logger.warn(
        { consumer: this.#options.name },
        `what it consumes is not in order: ${messageOf(error)}`,
      );
      await channel.close();
    }
  }
}

/** From RabbitMQ 4.3 on the consumer timeout of a quorum queue comes as a cancel, too (rabbitmq.com/docs/consumers). */
const cancelled =
  "the broker cancelled it: its queue was deleted, its node went away, or a message was not acknowledged within the consumer timeout";
