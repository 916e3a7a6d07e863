import { setTimeout as sleep } from "node:timers/promises";
import type { ConsumeMessage } from "amqplib";
import { backoffMs } from "./backoff.ts";
import type { Channel } from "./channel.ts";
import type { Connection } from "./connection.ts";
import { Gate } from "./deadline.ts";
import type { Deadline } from "./deadline.ts";
import type { Incoming } from "./incoming.ts";
import { Intake } from "./intake.ts";
import { ClosedError, TopologyError } from "../errors.ts";
import { messageOf } from "../telemetry/log.ts";
import type { Logger } from "../telemetry/log.ts";

/**
 * Consumes a queue until it is stopped: sets everything up again whenever channel, queue or connection is lost. Contains no code of an idiom. intake.ts decides how many messages are consumed and handled at a time.
 */

const maxRestartDelayMs = 5_000;

/** From RabbitMQ 4.3 on, the consumer timeout of a quorum queue arrives as a cancel as well (rabbitmq.com/docs/consumers). */
const cancelled =
  "the broker cancelled it: its queue was deleted, its node became unavailable, or a message was not acknowledged within the consumer timeout";

export interface ConsumerOptions {
  /** Names in logs what is consumed. */
  name: string;
  /** Messages in flight at a time; undefined: without acknowledgement, at the broker's full speed. */
  prefetch: number | undefined;
  /** Whether a message must be handled while no other is in flight, because it may end this process. @default none */
  isSuspect?: (message: ConsumeMessage) => boolean;
  /** Declares and binds. @returns the queue to consume */
  setUp: () => Promise<string>;
  /** Checks or re-declares what `setUp` declared, every `refreshMs` of the connection. If it rejects, everything is set up again. */
  refresh: (queue: string) => Promise<void>;
  /** Resolves when the message is settled; never rejects. */
  onMessage: (delivery: Incoming) => Promise<void> | void;
  /** The channel is lost, and with it all messages in flight. */
  onLost?: (reason: Error) => void;
  logger: Logger;
}

export class Consumer {
  readonly #connection: Connection;
  readonly #options: ConsumerOptions;
  readonly #intake: Intake;
  readonly #stopping = new AbortController();
  #channel: Channel | undefined;
  #queue = "";
  readonly #consumingGate = new Gate();
  isConsuming = false;

  constructor(connection: Connection, options: ConsumerOptions) {
    this.#connection = connection;
    this.#options = options;
    this.#intake = new Intake(connection, {
      prefetch: options.prefetch,
      isSuspect: options.isSuspect,
      handle: (incoming) => this.#handle(incoming),
      onCancelled: (channel) => void channel.close(new Error(cancelled)),
    });
  }

  /**
   * Resolves once the queue is consumed for the first time; from then on the consumer recovers by itself.
   * @throws {TopologyError} the first time, if no retry can succeed
   */
  async start(): Promise<void> {
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    void this.#run(resolve, reject);
    await promise;
  }

  /** The queue that is consumed now. It may be another one after the next loss. */
  get queue(): string | undefined {
    return this.isConsuming ? this.#queue : undefined;
  }

  /** Resolves once the queue is consumed. @throws {ClosedError} it was stopped; `expired()` at the limit */
  async whenConsuming(deadline: Deadline, expired: () => Error): Promise<void> {
    if (this.#stopping.signal.aborted) throw this.#stopped();
    if (!this.isConsuming) await this.#consumingGate.pass(deadline, expired);
  }

  #stopped(): ClosedError {
    return new ClosedError(`The consumer of ${this.#options.name} was stopped.`);
  }

  /** Stops consuming and waits until the messages in flight are settled. */
  async stop(): Promise<void> {
    this.#stopping.abort();
    this.#consumingGate.fail(this.#stopped());
    const channel = this.#channel;
    await this.#intake.stop();
    await channel?.close();
  }

  /**
   * Stops consuming for now; messages in flight are finished. Resolves once the broker delivers nothing more.
   * @returns a function that resumes
   */
  hold(): Promise<() => void> {
    return this.#intake.hold();
  }

  /** Aborts the signal of every message in flight. */
  abort(reason: Error): void {
    this.#intake.abort(reason);
  }

  async #run(onConsuming: () => void, onFailure: (error: unknown) => void): Promise<void> {
    const { name, logger } = this.#options;
    const stopping = this.#stopping.signal;
    let hasConsumed = false;
    let failures = 0;
    while (!stopping.aborted) {
      try {
        const channel = await this.#consume();
        if (stopping.aborted) {
          await channel.close();
          break;
        }
        failures = 0;
        hasConsumed = true;
        onConsuming();
        const reason = await this.#untilLost(channel);
        if (stopping.aborted) break;
        logger.warn({ consumer: name, error: messageOf(reason) }, "consumer lost, restarting it");
      } catch (error) {
        await this.#channel?.close();
        if (stopping.aborted) break;
        if (!hasConsumed && error instanceof TopologyError) {
          onFailure(error);
          return;
        }
        const delayMs = Math.min(maxRestartDelayMs, backoffMs(failures++));
        logger.warn(
          { consumer: name, delayMs: Math.round(delayMs), error: messageOf(error) },
          "cannot consume, retrying",
        );
        await sleep(delayMs, undefined, { signal: stopping }).catch(() => undefined);
      }
    }
    onFailure(new ClosedError(`The consumer of ${name} was stopped before it consumed.`));
  }

  async #consume(): Promise<Channel> {
    const queue = await this.#options.setUp();
    const channel = await this.#connection.channel();
    this.#channel = channel;
    this.#queue = queue;
    await this.#intake.open(channel, queue);
    this.isConsuming = channel.isOpen;
    if (this.isConsuming) this.#consumingGate.open();
    return channel;
  }

  async #handle(incoming: Incoming): Promise<void> {
    const { onMessage, name, logger } = this.#options;
    try {
      await onMessage(incoming);
    } catch (error) {
      logger.error({ consumer: name, error: messageOf(error) }, "message left unsettled");
    }
  }

  async #untilLost(channel: Channel): Promise<Error> {
    const refresh = async (): Promise<void> => {
      await this.#refresh(channel);
      if (channel.isOpen) timer.refresh();
    };
    // Not an interval: on a dead link refreshes would pile up.
    const timer = setTimeout(() => void refresh(), this.#connection.intervals.refreshMs);
    const reason = await channel.lost;
    clearTimeout(timer);
    this.isConsuming = false;
    this.#intake.abort(reason);
    this.#options.onLost?.(reason);
    return reason;
  }

  async #refresh(channel: Channel): Promise<void> {
    try {
      await this.#options.refresh(this.#queue);
    } catch (error) {
      if (!channel.isOpen || this.#stopping.signal.aborted) return;
      this.#options.logger.warn(
        { consumer: this.#options.name, error: messageOf(error) },
        "check failed, restarting the consumer",
      );
      await channel.close();
    }
  }
}
