import { setTimeout as sleep } from "node:timers/promises";
import type { ConsumeMessage } from "amqplib";
import type { Channel } from "../broker/channel.ts";
import { Connection } from "../broker/connection.ts";
import { Deadline } from "../broker/deadline.ts";
import { Publisher } from "../broker/publisher.ts";
import type { Outgoing } from "../broker/publisher.ts";
import type { TlsOptions } from "../broker/tls.ts";
import { inspectQueue } from "../broker/topology.ts";
import { readUrls } from "../broker/url.ts";
import { countsLooks, refusalToLook } from "../derive/dead-policy.ts";
import { ConnectionError, UsageError } from "../errors.ts";
import { failedExchange } from "../names.ts";
import { forwarded, forwardedHeaders } from "../notify/forward.ts";
import { silent, messageOf } from "../telemetry/log.ts";

/**
 * What an operator does with the messages in `<queue>.dead`: look, send back, discard. What is looked at is held unacknowledged and put
 * back in its old order. Nothing is acknowledged before it is safe elsewhere, so that whatever ends the process loses nothing. Knows no idiom.
 */

/** Messages in hand at a time, bodies and all; those before them are held by the broker. */
const batchSize = 100;
/** Nothing came for so long: somebody else holds the rest. */
const quietMs = 2_000;
const putBackTimeoutMs = 10_000;
const confirmTimeoutMs = 10_000;
const closeTimeoutMs = 2_000;
const none = Buffer.alloc(0);

/** A message that was set aside, with what the kit's headers say of it. They are as trustworthy as whoever may write to the queue. */
export interface DeadLetter {
  readonly message: ConsumeMessage;
  readonly messageId: string | undefined;
  readonly reason: string | undefined;
  readonly service: string | undefined;
  readonly error: string | undefined;
  readonly deadLetteredAt: Date | undefined;
  /** How often a quorum queue counts it as handed out in vain. */
  readonly deliveryCount: number;
}

type Choice = (letter: DeadLetter) => boolean;

export interface DeadLettersOptions {
  /** Somebody vouches for the policy without which RabbitMQ 4.0 to 4.2 delete what is looked at too often. */
  isPolicySet: boolean;
  tls?: TlsOptions | undefined;
  /** Ends the work after the batch in hand, and puts back the rest. */
  signal: AbortSignal;
}

export class DeadLetters implements AsyncDisposable {
  readonly #consuming: Connection;
  readonly #publishing: Connection;
  readonly #signal: AbortSignal;
  #brokerVersion = "";

  /** @throws {ConnectionError} at once; {UsageError} when looking would do harm on this broker */
  static async open(urls: readonly string[], options: DeadLettersOptions): Promise<DeadLetters> {
    const opened = new DeadLetters(urls, options);
    try {
      await opened.#consuming.opened("after-one-round");
      const version = await opened.#consuming.withChannel(
        async ({ connection }) => connection.serverProperties.version,
      );
      opened.#brokerVersion = version;
      if (countsLooks(version) && !options.isPolicySet) throw new UsageError(refusalToLook(version));
      return opened;
    } catch (error) {
      await opened.close();
      throw error;
    }
  }

  private constructor(urls: readonly string[], { tls, signal }: DeadLettersOptions) {
    const endpoints = readUrls(urls, tls);
    this.#signal = signal;
    this.#consuming = new Connection("consuming", endpoints, "amqp-kit dead", silent);
    this.#publishing = new Connection("publishing", endpoints, "amqp-kit dead", silent);
  }

  /** From the handshake. */
  get brokerVersion(): string {
    return this.#brokerVersion;
  }

  /** @returns how many messages wait in the queue; undefined when it is not there */
  async count(queue: string): Promise<number | undefined> {
    return (await inspectQueue(this.#consuming, queue))?.messageCount;
  }

  /** Shows what stands in the queue now, oldest first, and leaves it there. @returns how many it was shown */
  async look(queue: string, show: (letters: readonly DeadLetter[]) => Promise<void> | void): Promise<number> {
    return this.#withHand(queue, async (hand) => {
      let seen = 0;
      for await (const letters of hand.batches()) {
        await show(letters);
        seen += letters.length;
      }
      return seen;
    });
  }

  /**
   * Sends messages back to the one queue that they came from, and to no other subscriber's: published, confirmed, then acknowledged.
   * Ends with the last one that stood there when it began: what fails again and comes back behind them is not sent twice.
   * @param onProgress  is told of each batch: how many were sent back, and how many looked at, so far
   * @throws {PublishError} {ConnectionError} what was not confirmed is still there
   */
  async sendBack(queue: string, isWanted: Choice, onProgress: (sent: number, seen: number) => void): Promise<void> {
    const publisher = new Publisher(this.#publishing, failedExchange(workQueue(queue)));
    await this.#withHand(queue, async (hand) => {
      let sent = 0;
      let seen = 0;
      for await (const letters of hand.batches()) {
        const wanted = letters.filter(isWanted);
        const outcomes = await Promise.allSettled(publishAll(publisher, wanted));
        const confirmed = wanted.filter((_, index) => outcomes[index]?.status === "fulfilled");
        await hand.settle(confirmed);
        sent += confirmed.length;
        seen += letters.length;
        onProgress(sent, seen);
        const failed = outcomes.find((outcome) => outcome.status === "rejected");
        if (failed !== undefined) throw failed.reason;
      }
    });
    await publisher.close();
  }

  /**
   * Deletes messages.
   * @param save  is given each batch of them beforehand
   * @param isSure  is asked once, when all are known, with their number: false leaves everything as it was. Its signal ends the question
   *   when no answer matters any more
   * @param onBegin  is called just before the first is deleted: from here on some may be gone, whatever happens
   * @returns how many were deleted
   */
  async discard(
    queue: string,
    isWanted: Choice,
    save: (letters: readonly DeadLetter[]) => Promise<void>,
    isSure: (count: number, signal: AbortSignal) => Promise<boolean>,
    onBegin: () => void,
  ): Promise<number> {
    return this.#withHand(queue, async (hand) => {
      const doomed: DeadLetter[] = [];
      for await (const letters of hand.batches()) {
        const wanted = letters.filter(isWanted);
        await save(wanted);
        doomed.push(...wanted.map((letter) => ({ ...letter, message: withoutBody(letter.message) })));
      }
      if (doomed.length === 0 || this.#signal.aborted) return 0;
      const asking = new AbortController();
      try {
        if (!(await hand.race(isSure(doomed.length, asking.signal)))) return 0;
      } finally {
        // A question that stays open keeps the process alive.
        asking.abort();
      }
      onBegin();
      await hand.settle(doomed);
      return doomed.length;
    });
  }

  async close(): Promise<void> {
    await Promise.all([this.#publishing.close(closeTimeoutMs), this.#consuming.close(closeTimeoutMs)]);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  async #withHand<T>(queue: string, work: (hand: Hand) => Promise<T>): Promise<T> {
    const hand = new Hand(queue, await this.#consuming.channel(), this.#signal);
    try {
      return await work(hand);
    } catch (error) {
      throw (await hand.whyLost()) ?? error;
    } finally {
      await hand.putBack();
    }
  }
}

/** A dead queue's messages, held on one channel until they are settled or put back. */
class Hand {
  readonly #queue: string;
  readonly #channel: Channel;
  readonly #signal: AbortSignal;
  /** By delivery tag, without their bodies. Each batch came to a consumer of its own. */
  readonly #held = new Map<number, { batch: number; message: ConsumeMessage }>();
  #batch = 0;

  constructor(queue: string, channel: Channel, signal: AbortSignal) {
    this.#queue = queue;
    this.#channel = channel;
    this.#signal = signal;
  }

  /** Takes what stands in the queue now, and not what comes behind it. */
  async *batches(): AsyncGenerator<DeadLetter[]> {
    let { messageCount: left } = await this.#channel.raw.checkQueue(this.#queue);
    while (left > 0 && !this.#signal.aborted) {
      const messages = await this.#take(Math.min(batchSize, left));
      if (messages.length === 0) return;
      left -= messages.length;
      yield messages.map(toDeadLetter);
    }
  }

  /** @returns undefined while the messages are held */
  async whyLost(): Promise<ConnectionError | undefined> {
    if (this.#channel.isOpen) return undefined;
    const reason = await this.#channel.lost;
    const text = `The channel to queue "${this.#queue}" was lost: ${messageOf(reason)}`;
    return new ConnectionError(text, { retryable: true, outcome: "unknown", cause: reason });
  }

  /** Waits for `work`, no longer than the messages are held. */
  async race<T>(work: Promise<T>): Promise<T> {
    return Promise.race([work, this.#channel.lost.then((reason) => Promise.reject(reason))]);
  }

  /** Acknowledges, and so deletes. */
  async settle(letters: readonly DeadLetter[]): Promise<void> {
    if (letters.length === 0) return;
    const { raw } = this.#channel;
    // The fewer commands the better: a quorum queue's client keeps some back when they are many, and forgets them when the channel closes.
    if (letters.length === this.#held.size) raw.ack(letters.at(-1)!.message, true);
    else for (const { message } of letters) raw.ack(message);
    for (const { message } of letters) this.#held.delete(message.fields.deliveryTag);
    await raw.checkQueue(this.#queue);
  }

  /**
   * Puts back what is not settled, in its old order, and closes the channel. Closing alone will not do: a quorum queue takes it for a
   * failed delivery, also on 4.3 (measured: after 20 of them all are deleted), returns each consumer's messages in any order, and may
   * forget what its client has not sent yet. So batch after batch, each waited for until the broker counts it.
   */
  async putBack(): Promise<void> {
    const { raw } = this.#channel;
    const deadline = new Deadline(putBackTimeoutMs);
    try {
      let { messageCount: standing } = await raw.checkQueue(this.#queue);
      for (const held of Map.groupBy(this.#held.values(), ({ batch }) => batch).values()) {
        raw.nack(held.at(-1)!.message, true, true);
        standing += held.length;
        while (!deadline.isOver && (await raw.checkQueue(this.#queue)).messageCount < standing) await sleep(5);
      }
    } catch {
      // The channel is lost, and the broker has put everything back by itself.
    }
    await this.#channel.close();
  }

  /** A consumer with a prefetch takes no more than that, and far faster than one message at a time. */
  async #take(count: number): Promise<ConsumeMessage[]> {
    const { raw } = this.#channel;
    const batch = ++this.#batch;
    const consumerTag = `batch-${batch}`;
    const messages: ConsumeMessage[] = [];
    const { promise: isTaken, resolve } = Promise.withResolvers<void>();
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
          await isTaken;
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

/** All at once, but one after the other under one message id, and without any: a return could be that of either. */
function publishAll(publisher: Publisher, letters: readonly DeadLetter[]): Promise<void>[] {
  const before = new Map<string | undefined, Promise<void>>();
  return letters.map((letter) => {
    const outgoing = sentBack(letter.message);
    const publish = (): Promise<void> => publisher.publish(outgoing, new Deadline(confirmTimeoutMs));
    const published = (before.get(outgoing.messageId) ?? Promise.resolve()).then(publish);
    before.set(outgoing.messageId, published);
    return published;
  });
}

/** As it first came: a new life, with all its attempts. */
function sentBack(message: ConsumeMessage): Outgoing {
  const headers = Object.fromEntries(
    Object.entries<unknown>(message.properties.headers ?? {}).filter(([name]) => !name.startsWith("amqp-kit-")),
  );
  const came = { ...message, properties: { ...message.properties, headers } };
  return forwarded(came, "again", forwardedHeaders(came));
}

function withoutBody(message: ConsumeMessage): ConsumeMessage {
  return { ...message, content: none };
}

/** The queue whose failures a dead queue keeps. @throws {UsageError} the name of another queue */
export function workQueue(deadQueue: string): string {
  if (!deadQueue.endsWith(".dead"))
    throw new UsageError(`"${deadQueue}" is no dead queue: their names end in ".dead".`);
  return deadQueue.slice(0, -".dead".length);
}

function toDeadLetter(message: ConsumeMessage): DeadLetter {
  const headers: Record<string, unknown> = message.properties.headers ?? {};
  const at = nonEmptyText(headers["amqp-kit-last-failed-at"]);
  const deadLetteredAt = at === undefined ? undefined : new Date(at);
  const deliveryCount = headers["x-delivery-count"];
  return {
    message,
    messageId: nonEmptyText(message.properties.messageId),
    reason: nonEmptyText(headers["amqp-kit-reason"]),
    service: nonEmptyText(headers["amqp-kit-service"]),
    error: nonEmptyText(headers["amqp-kit-error"]),
    deadLetteredAt: deadLetteredAt === undefined || Number.isNaN(deadLetteredAt.getTime()) ? undefined : deadLetteredAt,
    deliveryCount: typeof deliveryCount === "number" ? deliveryCount : 0,
  };
}

function nonEmptyText(value: unknown): string | undefined {
  return typeof value === "string" && value !== "" ? value : undefined;
}
