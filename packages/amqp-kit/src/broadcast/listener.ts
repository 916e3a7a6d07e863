import type { Message } from "amqplib";
import type { Connection } from "../broker/connection.ts";
import { Consumer } from "../broker/consumer.ts";
import { bindListener, declareListener } from "../broker/topology.ts";
import type { Broadcast, Output } from "../contract.ts";
import { MessageTooLargeError } from "../errors.ts";
import { decode } from "../messages/decode.ts";
import { deliveryOf } from "../messages/delivery.ts";
import type { Delivery } from "../messages/delivery.ts";
import { maxBodyBytes } from "../messages/limits.ts";
import { Drops } from "../telemetry/drops.ts";
import { messageOf, withoutValues } from "../telemetry/log.ts";
import type { Logger } from "../telemetry/log.ts";

/** Idiom 1, broadcast, the receiving side: a bounded buffer before a handler that gets one update at a time. */

const maxBufferedBytes = 16 * 1024 * 1024;

export class Listener<C extends Broadcast> {
  readonly #contract: C;
  readonly #handler: (message: Output<C["message"]>, delivery: Delivery) => unknown;
  readonly #maxBuffered: number;
  readonly #logger: Logger;
  readonly #drops: Drops;
  readonly #consumer: Consumer;
  readonly #abort = new AbortController();
  readonly #buffer: Message[] = [];
  #bufferedBytes = 0;
  #handling: Promise<void> | undefined;
  #isStopping = false;

  constructor(
    connection: Connection,
    contract: C,
    handler: (message: Output<C["message"]>, delivery: Delivery) => unknown,
    maxBuffered: number,
    logger: Logger,
  ) {
    this.#contract = contract;
    this.#handler = handler;
    this.#maxBuffered = maxBuffered;
    this.#logger = logger;
    this.#drops = new Drops(contract.name, logger);
    this.#consumer = new Consumer(connection, {
      name: contract.name,
      prefetch: undefined,
      setUp: () => declareListener(connection, contract, maxBuffered),
      refresh: (queue) => bindListener(connection, contract, queue),
      onMessage: ({ message }) => this.#onMessage(message),
      logger,
    });
  }

  get isReady(): boolean {
    return this.#consumer.isConsuming;
  }

  /** A listener publishes nothing. */
  get unconfirmed(): readonly string[] {
    return [];
  }

  async start(): Promise<void> {
    await this.#consumer.start();
  }

  async stop(): Promise<void> {
    this.#isStopping = true;
    await this.#consumer.stop();
    this.#drops.count("closing", this.#buffer.length);
    this.#buffer.length = 0;
    await this.#handling;
    this.#drops.close();
  }

  abort(reason: Error): void {
    this.#abort.abort(reason);
  }

  #onMessage(message: Message): void {
    if (this.#isStopping) return;
    // A message that will be refused must not push a valid one out of the buffer.
    const bytes = message.content.length;
    if (bytes > maxBodyBytes)
      return this.#refuse(new MessageTooLargeError(this.#contract.name, "body", bytes, maxBodyBytes));
    this.#buffer.push(message);
    this.#bufferedBytes += bytes;
    while (
      this.#buffer.length > this.#maxBuffered ||
      (this.#bufferedBytes > maxBufferedBytes && this.#buffer.length > 1)
    ) {
      this.#shift();
      this.#drops.count("buffer-full");
    }
    this.#handling ??= Promise.resolve().then(() => this.#handleBuffered());
  }

  #refuse(error: unknown): void {
    this.#drops.count(error instanceof MessageTooLargeError ? "message-too-large" : "invalid-message");
    this.#logger.debug({ contract: this.#contract.name, error: messageOf(error) }, "update refused");
  }

  #shift(): Message | undefined {
    const message = this.#buffer.shift();
    this.#bufferedBytes -= message?.content.length ?? 0;
    return message;
  }

  /** One at a time, in order. */
  async #handleBuffered(): Promise<void> {
    for (let message = this.#shift(); message !== undefined; message = this.#shift()) {
      let update: Output<C["message"]>;
      try {
        update = decode(this.#contract.name, this.#contract.message, this.#contract.decoders, message);
      } catch (error) {
        this.#refuse(error);
        continue;
      }
      try {
        await this.#handler(update, deliveryOf(message, this.#abort.signal));
      } catch (error) {
        this.#logger.error(
          { contract: this.#contract.name, ...withoutValues(error) },
          "handler failed, update skipped",
        );
      }
    }
    // Set in the same turn that saw an empty buffer: later, an update added in between would never be handled.
    this.#handling = undefined;
  }
}
