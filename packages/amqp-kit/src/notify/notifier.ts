import type { Connection } from "../broker/connection.ts";
import { Deadline } from "../broker/deadline.ts";
import { Publisher } from "../broker/publisher.ts";
import { declareNotification } from "../broker/topology.ts";
import type { Input, Notification } from "../contract.ts";
import { TopologyError } from "../errors.ts";
import { encode } from "../messages/encode.ts";
import { messageIdOf, propertiesOf } from "../messages/properties.ts";
import { messageOf } from "../telemetry/log.ts";
import type { Logger } from "../telemetry/log.ts";

/** Idiom 2, notify, the sending side: every subscriber of the system gets every message at least once, even if it was down. */

export interface NotifyOptions {
  /** Identifies the message. Send a failed message again with the same id: receivers then recognise it. 1 to 255 bytes. @default a new UUID */
  messageId?: string;
  /** Time limit of the whole call in milliseconds, including the wait for a connection. @default 10000 */
  timeoutMs?: number;
  /** Ends the wait: the call rejects with the signal's reason. A message that was sent may still arrive. @default none */
  signal?: AbortSignal;
}

export class Notifier {
  readonly #connection: Connection;
  readonly #notification: Notification;
  readonly #subscribers: readonly string[];
  readonly #service: string;
  readonly #logger: Logger;
  readonly #publisher: Publisher;
  readonly #refresh: NodeJS.Timeout;
  #isRedeclaring = false;

  /** @param subscribers  services whose queues the notifier declares, so that they exist before the first run of a service */
  constructor(
    connection: Connection,
    notification: Notification,
    subscribers: readonly string[],
    service: string,
    logger: Logger,
  ) {
    this.#connection = connection;
    this.#notification = notification;
    this.#subscribers = subscribers;
    this.#service = service;
    this.#logger = logger;
    this.#publisher = new Publisher(connection, notification.name, () => this.declare());
    this.#refresh = setInterval(() => void this.#redeclare(), connection.intervals.refreshMs).unref();
    connection.on("open", () => void this.#redeclare());
  }

  async declare(): Promise<void> {
    await declareNotification(this.#connection, this.#notification, this.#subscribers);
  }

  /**
   * Publishes a message and resolves when the broker has confirmed it for every queue that is bound now.
   * @throws {InvalidMessageError} {MessageTooLargeError} {PublishError} {ConnectionError}
   */
  async notify<C extends Notification>(
    contract: C,
    message: Input<C["message"]>,
    options: NotifyOptions,
  ): Promise<void> {
    const body = encode(contract.name, contract.message, message);
    const messageId = messageIdOf(options.messageId);
    const deadline = new Deadline(options.timeoutMs ?? 10_000, options.signal);
    const properties = { ...propertiesOf(contract, this.#service, messageId), deliveryMode: 2 };
    await this.#publisher.publish({ messageId, routingKey: "", body, properties: () => properties }, deadline);
  }

  get unconfirmed(): string[] {
    return this.#publisher.unconfirmed;
  }

  async idle(): Promise<void> {
    await this.#publisher.idle();
  }

  async close(): Promise<void> {
    clearInterval(this.#refresh);
    await this.#publisher.close();
  }

  /** Re-declares every subscriber's queue: the broker confirms a message if one queue accepts it, even if another queue is missing. */
  async #redeclare(): Promise<void> {
    // A blocked broker does not answer: declarations must not pile up.
    if (!this.#connection.isOpen || this.#isRedeclaring) return;
    this.#isRedeclaring = true;
    try {
      await this.declare();
    } catch (error) {
      const text = "cannot re-declare the subscribers' queues";
      const facts = { contract: this.#notification.name, error: messageOf(error) };
      // Other errors mean that the connection was lost or closed. The next connection re-declares first.
      if (error instanceof TopologyError) this.#logger.error(facts, text);
      else this.#logger.debug(facts, text);
    } finally {
      this.#isRedeclaring = false;
    }
  }
}
