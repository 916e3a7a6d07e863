import type { ConsumeMessage } from "amqplib";
import type { Channel } from "./channel.ts";
import { ChannelConsumers } from "./channel-consumers.ts";
import type { WantedConsumers } from "./channel-consumers.ts";
import type { Connection } from "./connection.ts";
import { Incoming } from "./incoming.ts";

/**
 * Decides how many messages of a queue are consumed and handled at a time.
 *
 * A suspect message may end this process, and with it all other messages that are in flight. It is therefore handled alone. Each channel
 * begins with one message at a time, and widens when a message comes that is not suspect.
 *
 *            ┌────────┐  a message that is not suspect  ┌──────┐  a suspect message  ┌───────┐
 *   open ──► │ NARROW │ ──────────────────────────────► │ WIDE │ ──────────────────► │ ALONE │
 *            └────────┘                                 └──────┘                     └───────┘
 *                 ▲                                                                      │
 *                 └──────────── the message is settled, or its channel is lost ──────────┘
 *
 *   hold():          any state ──► HELD ── the last hold ends ──► the state before
 *   a new channel:   NARROW, or HELD while a hold lasts
 *   stop():          any state ──► STOPPED
 *
 * | state   | consumers on the broker                 | messages                                                         |
 * |---------|-----------------------------------------|------------------------------------------------------------------|
 * | NARROW  | `first` with prefetch 1                 | one at a time                                                    |
 * | WIDE    | `first`, and `wider` with prefetch - 1  | up to `prefetch` at a time                                       |
 * | ALONE   | none                                    | the same as HELD, then the suspect one is handled                |
 * | HELD    | none                                    | those in flight are finished, those that are buffered requeued   |
 * | STOPPED | none                                    | the same                                                         |
 *
 * Without `isSuspect`, `first` has the whole prefetch, and there is neither NARROW nor ALONE.
 */

export interface IntakeOptions {
  /** Messages in flight at a time; undefined: without acknowledgement, at the broker's full speed. */
  prefetch: number | undefined;
  /** Whether a message must be handled while no other is in flight, because it may end this process. @default none */
  isSuspect?: ((message: ConsumeMessage) => boolean) | undefined;
  /** Resolves when the message is settled; never rejects. */
  handle: (incoming: Incoming) => Promise<void>;
  /** The broker cancelled a consumer on this channel. */
  onCancelled: (channel: Channel) => void;
}

export class Intake {
  readonly #options: IntakeOptions;
  readonly #consumers: ChannelConsumers;
  #holds = 0;
  #isStopped = false;
  /** WIDE, or held in that state. */
  #isWide = false;
  /** Each message with a promise that resolves when it is settled. */
  readonly #inFlight = new Map<Incoming, Promise<void>>();
  /**
   * Delivered but not in flight: what the broker sends before it knows of a hold, and, after one, what a new consumer brings: it has a whole
   * prefetch, however many messages are still in flight.
   */
  readonly #buffered: Incoming[] = [];

  constructor(connection: Connection, options: IntakeOptions) {
    this.#options = options;
    this.#consumers = new ChannelConsumers(connection, {
      wanted: () => this.#wantedConsumers(),
      onMessage: (message, channel) => this.#onMessage(message, channel),
    });
  }

  /** Consumes a queue on a new channel. Resolves once the broker has started the consumer. */
  async open(channel: Channel, queue: string): Promise<void> {
    this.#consumers.useChannel(channel, queue);
    this.#isWide = false;
    await this.#consumers.reconcile();
  }

  /**
   * Stops consuming for now; messages in flight are finished. Resolves once the broker delivers nothing more.
   * @returns a function that resumes
   */
  async hold(): Promise<() => void> {
    this.#holds++;
    await this.#reconcile();
    this.#requeueBuffered();
    return () => {
      this.#holds--;
      void this.#reconcile();
    };
  }

  /** Stops consuming and waits until the messages in flight are settled. */
  async stop(): Promise<void> {
    this.#isStopped = true;
    const { channel } = this.#consumers;
    if (channel?.isOpen === true) await Promise.race([this.#reconcile(), channel.lost]);
    this.#requeueBuffered();
    await Promise.all(this.#inFlight.values());
  }

  /** Aborts the signal of every message in flight. */
  abort(reason: Error): void {
    for (const { abort } of this.#inFlight.keys()) abort.abort(reason);
  }

  get #isHeld(): boolean {
    return this.#holds > 0 || this.#isStopped;
  }

  #wantedConsumers(): WantedConsumers {
    const { prefetch, isSuspect } = this.#options;
    if (this.#isHeld) return new Map();
    if (prefetch === undefined || isSuspect === undefined) return new Map([["first", prefetch]]);
    const first = ["first", 1] as const;
    return new Map(this.#isWide ? [first, ["wider", prefetch - 1]] : [first]);
  }

  /** A failure means that the channel is lost: it delivers nothing more, and the next one begins with what is wanted then. */
  async #reconcile(): Promise<void> {
    await this.#consumers.reconcile().catch(() => undefined);
  }

  #onMessage(message: ConsumeMessage | null, channel: Channel): void {
    if (message === null) return this.#options.onCancelled(channel);
    // A message that needs no acknowledgement cannot be requeued: it is dropped.
    if (this.#isHeld && this.#options.prefetch === undefined) return;
    this.#buffered.push(new Incoming(message, channel));
    this.#handleBuffered();
  }

  /** In the order of their delivery. */
  #handleBuffered(): void {
    while (!this.#isHeld && !this.#isFull) {
      const incoming = this.#buffered.shift();
      if (incoming === undefined) return;
      if (incoming.channel.isOpen) this.#begin(incoming);
    }
  }

  /** Messages in flight on a lost channel do not count: the broker may have redelivered them to another process. */
  get #isFull(): boolean {
    const { prefetch = Infinity } = this.#options;
    return this.#inFlight.size >= prefetch && this.#inFlightOn(this.#consumers.channel).length >= prefetch;
  }

  #begin(incoming: Incoming): void {
    const { isSuspect, prefetch = 1, handle } = this.#options;
    const isSuspected = isSuspect?.(incoming.message) === true;
    // In NARROW it is alone anyway.
    const handled = isSuspected && this.#isWide ? this.#handleAlone(incoming) : handle(incoming);
    const onSettled = (): void => {
      this.#inFlight.delete(incoming);
      this.#handleBuffered();
    };
    this.#inFlight.set(incoming, handled.then(onSettled));
    if (isSuspect === undefined || isSuspected || this.#isWide || prefetch === 1) return;
    this.#isWide = true;
    void this.#reconcile();
  }

  /**
   * Waits until the other messages in flight are settled, then handles this one. A handler that never returns holds the intake until its
   * channel is lost: then the broker may redeliver the message to another process.
   */
  async #handleAlone(incoming: Incoming): Promise<void> {
    const { channel } = incoming;
    const others = this.#inFlightOn(channel);
    this.#isWide = false;
    const resume = await this.hold();
    await Promise.race([Promise.all(others), channel.lost]);
    if (this.#isStopped) incoming.requeue();
    const handled = channel.isOpen && !this.#isStopped ? this.#options.handle(incoming) : Promise.resolve();
    await Promise.race([handled, channel.lost]);
    resume();
    await handled;
  }

  #inFlightOn(channel: Channel | undefined): Promise<void>[] {
    return [...this.#inFlight].filter(([incoming]) => incoming.channel === channel).map(([, settled]) => settled);
  }

  #requeueBuffered(): void {
    for (const incoming of this.#buffered.splice(0)) incoming.requeue();
  }
}
