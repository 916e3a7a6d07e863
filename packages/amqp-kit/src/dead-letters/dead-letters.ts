import type { ConsumeMessage } from "amqplib";
import { Connection } from "../broker/connection.ts";
import { Deadline } from "../broker/deadline.ts";
import { Publisher } from "../broker/publisher.ts";
import type { Outgoing } from "../broker/publisher.ts";
import type { TlsOptions } from "../broker/tls.ts";
import { inspectQueue } from "../broker/topology.ts";
import { readUrls } from "../broker/url.ts";
import { countsReads, refusalToRead } from "../derive/dead-policy.ts";
import { UsageError } from "../errors.ts";
import { failedExchange } from "../names.ts";
import { forwarded, forwardedHeaders } from "../notify/forward.ts";
import { HeldMessages, withoutBody } from "./held-messages.ts";
import { workQueue } from "./letter.ts";
import type { DeadLetter } from "./letter.ts";
import { silent } from "../telemetry/log.ts";

/**
 * An operator's access to the messages in `<queue>.dead`: read, requeue, discard. Messages that are read are held unacknowledged and put
 * back in their old order. Nothing is acknowledged before it is safe elsewhere: a crash at any point loses nothing.
 */

const confirmTimeoutMs = 10_000;
const closeTimeoutMs = 2_000;

/** Returns the selected letters of a batch. Called once for each batch, in the order of the queue. */
type Choose = (letters: readonly DeadLetter[]) => DeadLetter[];

export interface DeadLettersOptions {
  /** Whether the policy applies. Without it, RabbitMQ 4.0 to 4.2 delete messages that are read too often. */
  isPolicySet: boolean;
  tls?: TlsOptions | undefined;
  /** Ends the work after the current batch; the remaining messages are put back. */
  signal: AbortSignal;
}

export interface DiscardSteps {
  /** Receives each batch of chosen messages, before anything is deleted. */
  save: (letters: readonly DeadLetter[]) => Promise<void>;
  /**
   * Called once with the number of chosen messages. False leaves them all in the queue.
   * @param signal  aborts when the answer does not matter any more
   */
  confirm: (count: number, signal: AbortSignal) => Promise<boolean>;
  /** Called just before the first message is deleted: from here on some may be deleted, even if `discard` fails. */
  onBegin: () => void;
}

export class DeadLetters implements AsyncDisposable {
  readonly #consuming: Connection;
  readonly #publishing: Connection;
  readonly #signal: AbortSignal;
  #brokerVersion = "";

  /** @throws {ConnectionError} immediately; {UsageError} when reading could delete messages on this broker */
  static async open(urls: string, options: DeadLettersOptions): Promise<DeadLetters> {
    const opened = new DeadLetters(urls, options);
    try {
      await opened.#consuming.opened("after-one-round");
      const version = await opened.#consuming.withChannel(
        async ({ connection }) => connection.serverProperties.version,
      );
      opened.#brokerVersion = version;
      if (countsReads(version) && !options.isPolicySet) throw new UsageError(refusalToRead(version));
      return opened;
    } catch (error) {
      await opened.close();
      throw error;
    }
  }

  private constructor(urls: string, { tls, signal }: DeadLettersOptions) {
    const endpoints = readUrls(urls, tls);
    this.#signal = signal;
    this.#consuming = new Connection("consuming", endpoints, "amqp-kit dead", silent);
    this.#publishing = new Connection("publishing", endpoints, "amqp-kit dead", silent);
  }

  /** The version that the broker sent in the handshake. */
  get brokerVersion(): string {
    return this.#brokerVersion;
  }

  /** @returns the number of ready messages; undefined when the queue does not exist */
  async count(queue: string): Promise<number | undefined> {
    return (await inspectQueue(this.#consuming, queue))?.messageCount;
  }

  /** Shows the messages that are in the queue now, oldest first, and leaves them there. @returns how many were shown */
  async read(queue: string, show: (letters: readonly DeadLetter[]) => Promise<void> | void): Promise<number> {
    return this.#withHeld(queue, async (held) => {
      let seen = 0;
      for await (const letters of held.batches()) {
        await show(letters);
        seen += letters.length;
      }
      return seen;
    });
  }

  /**
   * Moves messages back to the queue that they came from, and to no other subscriber's: published, confirmed, then acknowledged.
   * Ends with the last message that was in the dead queue at the start: one that fails again is not requeued twice.
   * @param onProgress  called after each batch with the numbers so far: how many were requeued, how many were read
   * @throws {PublishError} {ConnectionError} the messages that were not confirmed are still in the dead queue
   */
  async requeue(queue: string, choose: Choose, onProgress: (requeued: number, seen: number) => void): Promise<void> {
    const publisher = new Publisher(this.#publishing, failedExchange(workQueue(queue)));
    await this.#withHeld(queue, async (held) => {
      let requeued = 0;
      let seen = 0;
      for await (const letters of held.batches()) {
        const chosen = choose(letters);
        const outcomes = await Promise.allSettled(publishAll(publisher, chosen));
        const confirmed = chosen.filter((_, index) => outcomes[index]?.status === "fulfilled");
        await held.settle(confirmed);
        requeued += confirmed.length;
        seen += letters.length;
        onProgress(requeued, seen);
        const failed = outcomes.find((outcome) => outcome.status === "rejected");
        if (failed !== undefined) throw failed.reason;
      }
    });
    await publisher.close();
  }

  /** Deletes messages. @returns how many were deleted */
  async discard(queue: string, choose: Choose, { save, confirm, onBegin }: DiscardSteps): Promise<number> {
    return this.#withHeld(queue, async (held) => {
      const chosen: DeadLetter[] = [];
      for await (const letters of held.batches()) {
        const some = choose(letters);
        await save(some);
        chosen.push(...some.map((letter) => ({ ...letter, message: withoutBody(letter.message) })));
      }
      if (chosen.length === 0 || this.#signal.aborted) return 0;
      const asking = new AbortController();
      try {
        if (!(await held.race(confirm(chosen.length, asking.signal)))) return 0;
      } finally {
        // A question that stays open keeps the process alive.
        asking.abort();
      }
      onBegin();
      await held.settle(chosen);
      return chosen.length;
    });
  }

  async close(): Promise<void> {
    await Promise.all([this.#publishing.close(closeTimeoutMs), this.#consuming.close(closeTimeoutMs)]);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  async #withHeld<T>(queue: string, work: (held: HeldMessages) => Promise<T>): Promise<T> {
    const held = new HeldMessages(queue, await this.#consuming.channel(), this.#signal);
    try {
      return await work(held);
    } catch (error) {
      throw (await held.whyLost()) ?? error;
    } finally {
      await held.putBack();
    }
  }
}

/**
 * Publishes all without waiting, except that messages with the same id, or without an id, go one after the other: the broker's return
 * could belong to any of them.
 */
function publishAll(publisher: Publisher, letters: readonly DeadLetter[]): Promise<void>[] {
  const lastById = new Map<string | undefined, Promise<void>>();
  return letters.map((letter) => {
    const outgoing = requeued(letter.message);
    const publish = (): Promise<void> => publisher.publish(outgoing, new Deadline(confirmTimeoutMs));
    const published = (lastById.get(outgoing.messageId) ?? Promise.resolve()).then(publish);
    lastById.set(outgoing.messageId, published);
    return published;
  });
}

/** The message as it first arrived. Without the kit's headers it gets all its attempts again. */
function requeued(message: ConsumeMessage): Outgoing {
  const headers = Object.fromEntries(
    Object.entries<unknown>(message.properties.headers ?? {}).filter(([name]) => !name.startsWith("amqp-kit-")),
  );
  const original = { ...message, properties: { ...message.properties, headers } };
  return forwarded(original, "again", forwardedHeaders(original));
}
