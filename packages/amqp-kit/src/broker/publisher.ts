import { setTimeout as sleep } from "node:timers/promises";
import type { ConfirmChannel, Message, Options } from "amqplib";
import { replyCodeOf } from "./channel.ts";
import type { Channel } from "./channel.ts";
import type { Connection } from "./connection.ts";
import { Gate } from "./deadline.ts";
import type { Deadline } from "./deadline.ts";
import { isClosingError } from "./dial.ts";
import { ClosedError, ConnectionError, PublishError, TopologyError } from "../errors.ts";
import { messageOf } from "../telemetry/log.ts";

/** Publishes to one exchange on a channel of its own, with confirms, returns and back-pressure. Knows no idiom. */

const maxUnconfirmed = 1_000;
const maxUnconfirmedBytes = 16 * 1024 * 1024;
const openPauseMs = 100;

export interface Outgoing {
  /** Without an id, a return cannot be matched with its message: publish one at a time. */
  messageId: string | undefined;
  routingKey: string;
  body: Buffer;
  /** Called when the message is written, so that `expiration` is the rest of the time limit at that moment. */
  properties: () => Options.Publish;
}

interface Unconfirmed {
  messageId: string | undefined;
  bytes: number;
  isReturned: boolean;
}

export class Publisher {
  readonly #connection: Connection;
  readonly #exchange: string;
  readonly #prepare: () => Promise<void>;
  #channel: Channel<ConfirmChannel> | undefined;
  readonly #opening = new Gate<Channel<ConfirmChannel>>();
  #isOpening = false;
  #isClosed = false;
  readonly #publishing = new Set<Outgoing>();
  readonly #unconfirmed = new Set<Unconfirmed>();
  #settled = 0;
  /** Stops waiting for confirms. */
  #stopWatchdog: (() => void) | undefined;
  #reserved = 0;
  #reservedBytes = 0;
  readonly #waiting: { bytes: number; admit: () => void }[] = [];
  #onIdle: (() => void) | undefined;

  /** @param prepare  declares what must exist before the first publish on each new channel */
  constructor(connection: Connection, exchange: string, prepare: () => Promise<void> = () => Promise.resolve()) {
    this.#connection = connection;
    this.#exchange = exchange;
    this.#prepare = prepare;
  }

  /**
   * Publishes, mandatory, and resolves once the broker has confirmed.
   * @throws {PublishError} returned, refused, not confirmed in time, or the channel was lost before the confirm
   * @throws {ConnectionError} no connection, or no room in the window, within the limit: it was not sent
   */
  async publish(message: Outgoing, deadline: Deadline): Promise<void> {
    this.#publishing.add(message);
    try {
      await this.#publish(message, deadline);
    } finally {
      this.#publishing.delete(message);
    }
  }

  async #publish(message: Outgoing, deadline: Deadline): Promise<void> {
    const bytes = message.body.length;
    if (this.#waiting.length === 0 && this.#fits(bytes)) this.#reserve(bytes);
    else await this.#waitForRoom(bytes, deadline);
    let confirmed: Promise<void>;
    try {
      ({ confirmed } = await this.#sendOnOpenChannel(message, deadline));
    } catch (error) {
      // amqplib throws if it cannot encode a property.
      this.#release(bytes);
      throw error;
    }
    await deadline.race(confirmed, () =>
      this.#failure("timeout", message, `was not confirmed within ${deadline.timeoutMs} ms`),
    );
  }

  /** Sends the message; on the next channel, if amqplib is closing this one. @returns a promise of the confirm, wrapped so that it is not awaited here */
  async #sendOnOpenChannel(message: Outgoing, deadline: Deadline): Promise<{ confirmed: Promise<void> }> {
    for (;;) {
      const channel = this.#channel?.isOpen === true ? this.#channel : await this.#waitForChannel(deadline);
      if (deadline.remainingMs === 0) throw this.#notConnected(deadline);
      try {
        return { confirmed: this.#send(channel, message) };
      } catch (error) {
        if (!isClosingError(error)) throw error;
        await deadline.race(channel.lost, () => this.#notConnected(deadline));
      }
    }
  }

  /** The ids of the messages that the broker has not confirmed, including those that are not sent yet. */
  get unconfirmed(): string[] {
    return [...new Set([...this.#publishing, ...this.#unconfirmed].flatMap(({ messageId }) => messageId ?? []))];
  }

  /** Resolves when nothing is unconfirmed or about to be sent. */
  async idle(): Promise<void> {
    if (this.#reserved === 0 && this.#waiting.length === 0) return;
    const { promise, resolve } = Promise.withResolvers<void>();
    this.#onIdle = resolve;
    await promise;
  }

  async close(): Promise<void> {
    this.#isClosed = true;
    await this.#channel?.close();
  }

  /** A message larger than the whole window is sent alone. */
  #fits(bytes: number): boolean {
    return (
      this.#reserved < maxUnconfirmed && (this.#reserved === 0 || this.#reservedBytes + bytes <= maxUnconfirmedBytes)
    );
  }

  #reserve(bytes: number): void {
    this.#reserved++;
    this.#reservedBytes += bytes;
  }

  #release(bytes: number): void {
    this.#reserved--;
    this.#reservedBytes -= bytes;
    for (let next = this.#waiting[0]; next !== undefined && this.#fits(next.bytes); next = this.#waiting[0]) {
      this.#waiting.shift();
      next.admit();
    }
    if (this.#reserved === 0 && this.#waiting.length === 0) this.#onIdle?.();
  }

  /** Waits, in the order of the calls, until there is room in the window, and reserves it. */
  async #waitForRoom(bytes: number, deadline: Deadline): Promise<void> {
    const { promise, resolve } = Promise.withResolvers<void>();
    let isAdmitted = false;
    const place = {
      bytes,
      admit: (): void => {
        isAdmitted = true;
        this.#reserve(bytes);
        resolve();
      },
    };
    this.#waiting.push(place);
    try {
      await deadline.race(promise, () => {
        const why = `${this.#reserved} messages wait for the broker's confirm`;
        return new ConnectionError(
          `Nothing was sent within ${deadline.timeoutMs} ms: ${why}. The broker may be blocked or slow: try again later.`,
          {
            retryable: true,
          },
        );
      });
    } catch (error) {
      if (isAdmitted) this.#release(bytes);
      else this.#waiting.splice(this.#waiting.indexOf(place), 1);
      throw error;
    }
  }

  #notConnected(deadline: Deadline): ConnectionError {
    return new ConnectionError(
      `Nothing was sent: there was no connection to the broker within ${deadline.timeoutMs} ms.`,
      { retryable: true },
    );
  }

  /** Opens the channel, and retries within the limit: a connection may be lost, or a queue deleted, meanwhile. */
  async #waitForChannel(deadline: Deadline): Promise<Channel<ConfirmChannel>> {
    for (;;) {
      try {
        const opened = this.#opening.pass(deadline, () => this.#notConnected(deadline));
        void this.#open();
        return await opened;
      } catch (error) {
        if (error instanceof TopologyError || error instanceof ClosedError || deadline.isOver) throw error;
        await deadline.race(sleep(openPauseMs), () => this.#notConnected(deadline));
      }
    }
  }

  /** Opens one channel for all callers that wait for it. */
  async #open(): Promise<void> {
    if (this.#isOpening) return;
    this.#isOpening = true;
    try {
      const channel = await this.#openChannel();
      this.#isOpening = false;
      this.#opening.open(channel);
    } catch (error) {
      this.#isOpening = false;
      this.#opening.fail(error);
    }
  }

  async #openChannel(): Promise<Channel<ConfirmChannel>> {
    if (this.#isClosed) throw new ClosedError("Nothing was sent: this connection is closed.");
    await this.#connection.opened();
    await this.#prepare();
    const channel = await this.#connection.confirmChannel();
    channel.raw.on("return", (message: Message) => this.#onReturn(message));
    this.#channel = channel;
    return channel;
  }

  /** A return has no delivery tag. It arrives before the confirm of its message (rabbitmq.com/docs/confirms). */
  #onReturn({ properties }: Message): void {
    for (const entry of this.#unconfirmed) {
      if (entry.messageId === properties.messageId && !entry.isReturned) {
        entry.isReturned = true;
        return;
      }
    }
  }

  #send(channel: Channel<ConfirmChannel>, message: Outgoing): Promise<void> {
    const { messageId, routingKey, body } = message;
    const properties = { ...message.properties(), ...(messageId !== undefined && { messageId }), mandatory: true };
    const entry: Unconfirmed = { messageId, bytes: body.length, isReturned: false };
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    const onSettled = (error: unknown): void => {
      this.#unconfirmed.delete(entry);
      this.#settled++;
      this.#updateWatchdog();
      this.#release(entry.bytes);
      if (isChannelClosed(error)) {
        void channel.lost.then((reason) =>
          reject(this.#failure("channel-lost", message, `was not confirmed: ${messageOf(reason)}`, reason)),
        );
      } else if (error !== null) {
        reject(this.#failure("refused", message, "was refused by the broker (its queue is full, or failed)", error));
      } else if (entry.isReturned) {
        reject(this.#failure("unroutable", message, "was returned: no queue receives it"));
      } else {
        resolve();
      }
    };
    channel.raw.publish(this.#exchange, routingKey, body, properties, onSettled);
    this.#unconfirmed.add(entry);
    this.#updateWatchdog();
    return promise;
  }

  /** While messages are unconfirmed, the node must confirm some of them within each interval of the watchdog. */
  #updateWatchdog(): void {
    if (this.#unconfirmed.size === 0) {
      this.#stopWatchdog?.();
      this.#stopWatchdog = undefined;
    } else if (this.#stopWatchdog === undefined) {
      let before = this.#settled;
      this.#stopWatchdog = this.#connection.startWatchdog(() => {
        const hasMoved = this.#settled > before;
        before = this.#settled;
        return hasMoved;
      });
    }
  }

  #failure(reason: PublishError["reason"], message: Outgoing, what: string, cause?: unknown): PublishError {
    const { messageId, routingKey } = message;
    const exchange = this.#exchange;
    const text =
      `Message ${messageId ?? "without an id"} to exchange "${exchange}" with routing key "${routingKey}" ${what}. ` +
      (reason === "unroutable" ? "Send it again" : "The broker may have it: send it again under the same message id");
    return new PublishError(`${text}.`, { reason, exchange, routingKey, messageId, cause });
  }
}

/** amqplib passes this error to the callbacks of a lost channel. For a nack it passes another one, also without a code. */
function isChannelClosed(error: unknown): boolean {
  return error instanceof Error && replyCodeOf(error) === undefined && error.message === "channel closed";
}
