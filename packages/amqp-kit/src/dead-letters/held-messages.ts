import { setTimeout as sleep } from "node:timers/promises";
import type { ConsumeMessage } from "amqplib";
import type { Channel } from "../broker/channel.ts";
import { Deadline } from "../broker/deadline.ts";
import { ConnectionError } from "../errors.ts";
import { toDeadLetter } from "./letter.ts";
import type { DeadLetter } from "./letter.ts";
import { messageOf } from "../telemetry/log.ts";

/** Messages per batch. Only the current batch is in memory with its bodies. */
const batchSize = 100;
/** If nothing is delivered for this long, another consumer holds the rest. */
const quietMs = 2_000;
const putBackTimeoutMs = 10_000;
const none = Buffer.alloc(0);

/** A dead queue's messages, held unacknowledged on one channel until they are settled or put back. */
export class HeldMessages {
  readonly #queue: string;
  readonly #channel: Channel;
  readonly #signal: AbortSignal;
  /** Maps each delivery tag to its message without the body. Each batch has a consumer of its own. */
  readonly #held = new Map<number, { batch: number; message: ConsumeMessage }>();
  #batch = 0;

  constructor(queue: string, channel: Channel, signal: AbortSignal) {
    this.#queue = queue;
    this.#channel = channel;
    this.#signal = signal;
  }

  /** Consumes the messages that are in the queue now, and not those that are published later. */
  async *batches(): AsyncGenerator<DeadLetter[]> {
    let { messageCount: left } = await this.#channel.raw.checkQueue(this.#queue);
    while (left > 0 && !this.#signal.aborted) {
      const messages = await this.#consume(Math.min(batchSize, left));
      if (messages.length === 0) return;
      left -= messages.length;
      yield messages.map(toDeadLetter);
    }
  }

  /** @returns why the messages are no longer held; undefined while they are */
  async whyLost(): Promise<ConnectionError | undefined> {
    if (this.#channel.isOpen) return undefined;
    const reason = await this.#channel.lost;
    const text = `The channel to queue "${this.#queue}" was lost: ${messageOf(reason)}`;
    return new ConnectionError(text, { retryable: true, outcome: "unknown", cause: reason });
  }

  /** Waits for `work`, but only while the messages are held. */
  async race<T>(work: Promise<T>): Promise<T> {
    return Promise.race([work, this.#channel.lost.then((reason) => Promise.reject(reason))]);
  }

  /** Acknowledges the messages: the broker deletes them. */
  async settle(letters: readonly DeadLetter[]): Promise<void> {
    if (letters.length === 0) return;
    const { raw } = this.#channel;
    // One command if possible: the broker buffers some of many acknowledgements to a quorum queue, and forgets them when the channel closes.
    if (letters.length === this.#held.size) raw.ack(letters.at(-1)!.message, true);
    else for (const { message } of letters) raw.ack(message);
    for (const { message } of letters) this.#held.delete(message.fields.deliveryTag);
    await raw.checkQueue(this.#queue);
  }

  /**
   * Requeues the messages that are not settled, in their old order, and closes the channel.
   * To close the channel alone is not enough. A quorum queue counts that as a failed delivery, even on 4.3 (measured: after 20 of them it
   * deletes all). It returns each consumer's messages in any order, and may forget what its client has not sent yet. So this requeues batch
   * after batch, and waits until the broker counts each one.
   */
  async putBack(): Promise<void> {
    const { raw } = this.#channel;
    const deadline = new Deadline(putBackTimeoutMs);
    try {
      let { messageCount: ready } = await raw.checkQueue(this.#queue);
      for (const held of Map.groupBy(this.#held.values(), ({ batch }) => batch).values()) {
        raw.nack(held.at(-1)!.message, true, true);
        ready += held.length;
        while (!deadline.isOver && (await raw.checkQueue(this.#queue)).messageCount < ready) await sleep(5);
      }
    } catch {
      // The channel is lost, and the broker has requeued everything by itself.
    }
    await this.#channel.close();
  }

  /** The prefetch limits the consumer to `count` messages. This is far faster than getting one message at a time. */
  async #consume(count: number): Promise<ConsumeMessage[]> {
    const { raw } = this.#channel;
    const batch = ++this.#batch;
    const consumerTag = `batch-${batch}`;
    const messages: ConsumeMessage[] = [];
    const { promise: isComplete, resolve } = Promise.withResolvers<void>();
    const quiet = setTimeout(resolve, quietMs);
    const onMessage = (message: ConsumeMessage | null): void => {
      if (message !== null) messages.push(message);
      quiet.refresh();
      // Null: the queue was deleted.
      if (message === null || messages.length >= count) resolve();
    };
    try {
      await this.race(
        (async () => {
          await raw.prefetch(count);
          await raw.consume(this.#queue, onMessage, { consumerTag });
          quiet.refresh();
          await isComplete;
          await raw.cancel(consumerTag);
        })(),
      );
    } finally {
      clearTimeout(quiet);
    }
    for (const message of messages)
      this.#held.set(message.fields.deliveryTag, { batch, message: withoutBody(message) });
    return messages;
  }
}

export function withoutBody(message: ConsumeMessage): ConsumeMessage {
  return { ...message, content: none };
}
