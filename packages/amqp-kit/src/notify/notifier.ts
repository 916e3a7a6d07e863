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

/** Idiom 2, notify: every subscriber of the system gets every message, also what came while it was down. At least once. */

export interface NotifyOptions {
  /** Repeat it when sending again, so that receivers recognise the message. @default a new UUID */
  messageId?: string;
  /** Whole budget in milliseconds, connecting included. @default 10000 */
  timeoutMs?: number;
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

  /** @param subscribers  services whose queues are kept standing, from before their first run */
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
    this.#refresh = setInterval(() => void this.#redeclare(), connection.refreshMs).unref();
    connection.on("open", () => void this.#redeclare());
  }

  async declare(): Promise<void> {
    await declareNotification(this.#connection, this.#notification, this.#subscribers);
  }

  /**
   * Resolves once the broker has the message safe in every queue bound now.
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

  /** A fanout with one queue left counts as routed: nobody would see that another subscriber's queue is gone. */
  async #redeclare(): Promise<void> {
    // A blocked broker does not answer: what waits there must not pile up.
    if (!this.#connection.isOpen || this.#isRedeclaring) return;
    this.#isRedeclaring = true;
    try {
      await this.declare();
    } catch (error) {
      const text = "cannot re-declare the subscribers' queues";
      const facts = { contract: this.#notification.name, error: messageOf(error) };
      // Anything else is a connection that was lost or closed meanwhile; the next one begins with this.
      if (error instanceof TopologyError) this.#logger.error(facts, text);
      else this.#logger.debug(facts, text);
    } finally {
      this.#isRedeclaring = false;
    }
  }
}
