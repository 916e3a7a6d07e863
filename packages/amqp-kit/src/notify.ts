import type { Connection } from "./connection.ts";
import { Consumer, refreshMs } from "./consumer.ts";
import type { Incoming } from "./consumer.ts";
import type { Notification, Input, Output } from "./contract.ts";
import { Deadline } from "./deadline.ts";
import { TopologyError } from "./errors.ts";
import { decode, deliveryOf, encode, messageIdOf, propertiesOf } from "./message.ts";
import type { Delivery } from "./message.ts";
import { Publisher } from "./publisher.ts";
import { FailureRoute, reasonCode } from "./retry.ts";
import { emit, told, withoutValues } from "./telemetry.ts";
import type { Logger } from "./telemetry.ts";
import { bindSubscription, declareNotification, declareSubscription, subscriptionQueue } from "./topology.ts";

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
    this.#refresh = setInterval(() => void this.#redeclare(), refreshMs).unref();
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
      const what = `subscribers' queues cannot be looked after: ${told(error)}`;
      const facts = { contract: this.#notification.name };
      // Anything else is a connection that was lost or closed meanwhile; the next one begins with this.
      if (error instanceof TopologyError) this.#logger.error(facts, what);
      else this.#logger.debug(facts, what);
    } finally {
      this.#isRedeclaring = false;
    }
  }
}

export class Subscriber<C extends Notification> {
  readonly #contract: C;
  readonly #handler: (message: Output<C["message"]>, delivery: Delivery) => unknown;
  readonly #logger: Logger;
  readonly #consumer: Consumer;
  readonly #failures: FailureRoute;
  #isBound: boolean | undefined;

  constructor(
    connections: { consuming: Connection; publishing: Connection },
    contract: C,
    handler: (message: Output<C["message"]>, delivery: Delivery) => unknown,
    options: { service: string; concurrency: number; retryDelaysMs: readonly number[] },
    logger: Logger,
  ) {
    const { consuming, publishing } = connections;
    const { service, concurrency, retryDelaysMs } = options;
    const queue = subscriptionQueue(contract, service);
    this.#contract = contract;
    this.#handler = handler;
    this.#logger = logger;
    this.#failures = new FailureRoute(publishing, queue, service, retryDelaysMs, logger);
    const declareAndBind = async (): Promise<void> => {
      await declareSubscription(consuming, queue, retryDelaysMs);
      const isBound = await bindSubscription(consuming, contract, queue);
      if (isBound !== this.#isBound) {
        const text = isBound
          ? "bound to the notifier's exchange"
          : "the notifier's exchange does not exist yet; looking again";
        logger.info({ contract: contract.name, refreshMs }, text);
      }
      this.#isBound = isBound;
    };
    this.#consumer = new Consumer(consuming, {
      name: queue,
      prefetch: concurrency,
      setUp: async () => {
        await declareAndBind();
        return queue;
      },
      refresh: declareAndBind,
      onMessage: (incoming) => this.#handle(incoming),
      logger,
    });
  }

  /** Consuming, and bound: until the notifier's first start there is nothing to bind to. */
  get isReady(): boolean {
    return this.#consumer.isStanding && this.#isBound === true;
  }

  get unconfirmed(): readonly string[] {
    return this.#failures.unconfirmed;
  }

  async start(): Promise<void> {
    await this.#consumer.start();
  }

  async stop(): Promise<void> {
    await this.#consumer.stop();
    await this.#failures.close();
  }

  abort(reason: Error): void {
    this.#consumer.abort(reason);
  }

  async #handle(incoming: Incoming): Promise<void> {
    const { message, abort } = incoming;
    const contract = this.#contract.name;
    const delivery = deliveryOf(message, abort.signal);
    const { messageId, attempt } = delivery;
    let content: Output<C["message"]>;
    try {
      content = decode(contract, this.#contract.message, this.#contract.decoders, message);
    } catch (error) {
      await this.#setAside(incoming, error);
      return;
    }
    try {
      await this.#handler(content, delivery);
      incoming.ack();
    } catch (error) {
      // A handler that gives up because its delivery is lost has not failed: the broker hands the message out again.
      if (abort.signal.aborted) return;
      const delayMs = this.#failures.delayAfter(message);
      this.#logger.warn({ contract, messageId, attempt, delayMs, ...withoutValues(error) }, "the handler failed");
      if (delayMs === undefined) {
        await this.#setAside(incoming, error);
      } else {
        await this.#failures.retry(incoming, delayMs);
        if (!abort.signal.aborted) emit("retried", { contract, messageId, attempt, delayMs });
      }
    }
  }

  async #setAside(incoming: Incoming, reason: unknown): Promise<void> {
    const { messageId } = deliveryOf(incoming.message, incoming.abort.signal);
    await this.#failures.setAside(incoming, reason);
    if (incoming.abort.signal.aborted) return;
    const facts = { contract: this.#contract.name, messageId, reason: reasonCode(reason) };
    emit("set-aside", facts);
    this.#logger.error(facts, "message set aside");
  }
}
