import type { ConsumeMessage } from "amqplib";
import type { Channel } from "./channel.ts";
import type { Connection } from "./connection.ts";

/** Starts and cancels consumers of one queue on one channel. */

/** `first` is a consumer with a prefetch of 1, or with the whole prefetch; `wider` adds the rest of the concurrency. */
export type ConsumerName = "first" | "wider";

/** The consumers that should exist now, with the prefetch of each; undefined: without acknowledgement. */
export type WantedConsumers = ReadonlyMap<ConsumerName, number | undefined>;

export interface ChannelConsumersOptions {
  wanted: () => WantedConsumers;
  /** `null`: the broker cancelled a consumer. */
  onMessage: (message: ConsumeMessage | null, channel: Channel) => void;
}

export class ChannelConsumers {
  readonly #connection: Connection;
  readonly #options: ChannelConsumersOptions;
  #channel: Channel | undefined;
  #queue = "";
  #tags = new Map<ConsumerName, string>();
  #lastChange: Promise<unknown> = Promise.resolve();

  constructor(connection: Connection, options: ChannelConsumersOptions) {
    this.#connection = connection;
    this.#options = options;
  }

  get channel(): Channel | undefined {
    return this.#channel;
  }

  /** Continues on a new channel, on which nothing consumes yet. */
  useChannel(channel: Channel, queue: string): void {
    this.#channel = channel;
    this.#queue = queue;
    this.#tags = new Map();
  }

  /**
   * Starts the consumers that are wanted and cancels the others: one change at a time, so that none overtakes another. Does nothing on a
   * lost channel.
   */
  reconcile(): Promise<void> {
    const change = this.#lastChange.then(() => this.#connection.withWatchdog(() => this.#reconcileNow()));
    this.#lastChange = change.catch(() => undefined);
    return change;
  }

  async #reconcileNow(): Promise<void> {
    const channel = this.#channel;
    const tags = this.#tags;
    if (channel?.isOpen !== true) return;
    const wanted = this.#options.wanted();
    for (const [name, consumerTag] of [...tags].filter(([running]) => !wanted.has(running))) {
      tags.delete(name);
      await channel.raw.cancel(consumerTag);
    }
    for (const [name, prefetch] of wanted) {
      if (tags.has(name)) continue;
      // RabbitMQ applies it to the consumers that are started next. The prefetch of a running consumer cannot be changed.
      if (prefetch !== undefined) await channel.raw.prefetch(prefetch);
      const onMessage = (message: ConsumeMessage | null): void => this.#options.onMessage(message, channel);
      // The broker chooses a tag. Under a tag that was used before, late acknowledgements would count as room for more messages.
      const { consumerTag } = await channel.raw.consume(this.#queue, onMessage, { noAck: prefetch === undefined });
      tags.set(name, consumerTag);
    }
  }
}
