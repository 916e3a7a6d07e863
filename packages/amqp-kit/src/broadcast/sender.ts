import { setImmediate as nextTurn } from "node:timers/promises";
import type { Options } from "amqplib";
import { replyCodeOf } from "../broker/channel.ts";
import type { Channel } from "../broker/channel.ts";
import type { Connection } from "../broker/connection.ts";
import { declareBroadcastExchange, holdBroadcastExchange } from "../broker/topology.ts";
import type { Broadcast, Input } from "../contract.ts";
import { TopologyError } from "../errors.ts";
import { encode } from "../messages/encode.ts";
import { messageIdOf, propertiesOf } from "../messages/properties.ts";
import { Drops } from "../telemetry/drops.ts";
import type { DropReason } from "../telemetry/events.ts";
import { messageOf } from "../telemetry/log.ts";
import type { Logger } from "../telemetry/log.ts";

/** Idiom 1, broadcast, the sending side: every connected listener gets the message at most once. A sender never waits for a listener. */

const maxWaiting = 1_000;
const maxWaitingBytes = 16 * 1024 * 1024;
/** A message that could not be written for this long is dropped. */
const staleMs = 1_000;

interface Waiting {
  body: Buffer;
  properties: Options.Publish;
  settled: (isWritten: boolean) => void;
}

export class Sender {
  readonly #connection: Connection;
  readonly #broadcast: Broadcast;
  readonly #service: string;
  readonly #logger: Logger;
  readonly #drops: Drops;
  readonly #refresh: NodeJS.Timeout;
  #channel: Channel | undefined;
  #waiting: Waiting[] = [];
  #waitingBytes = 0;
  #sending: Promise<void> | undefined;
  /** Messages written since the last check of the exchange. If it was deleted, they may be lost. */
  #unproven = 0;
  #declaring: Promise<void> | undefined;
  #isDeclared = false;
  /** The queue that keeps the exchange in existence while this sender is connected. */
  #holding: string | undefined;
  #isClosing = false;

  constructor(connection: Connection, broadcast: Broadcast, service: string, logger: Logger) {
    this.#connection = connection;
    this.#logger = logger;
    this.#broadcast = broadcast;
    this.#service = service;
    this.#drops = new Drops(broadcast.name, logger);
    connection.on("lost", () => {
      this.#dropWaiting("disconnected");
      this.#isDeclared = false;
      this.#holding = undefined;
    });
    connection.on(
      "open",
      () => void this.declare().catch((error: unknown) => this.#warn("cannot declare the exchange", error)),
    );
    connection.on("blocked", () => this.#dropWaiting("blocked"));
    this.#refresh = setInterval(() => void this.#refreshHold(), connection.intervals.refreshMs).unref();
  }

  /** Declares the exchange, and keeps it in existence as long as this connection is open. */
  async declare(): Promise<void> {
    this.#declaring ??= this.#declare().finally(() => (this.#declaring = undefined));
    await this.#declaring;
  }

  async #declare(): Promise<void> {
    await declareBroadcastExchange(this.#connection, this.#broadcast);
    this.#isDeclared = true;
    try {
      this.#holding = await holdBroadcastExchange(this.#connection, this.#broadcast, this.#holding);
    } catch (error) {
      // Broadcasts work without this permission: the broker then deletes the exchange with its last listener, and the next message declares it again.
      if (!(error instanceof TopologyError)) throw error;
      this.#warn("cannot hold the exchange", error);
    }
  }

  /** Declares again, to test the node: one that is cut off from its cluster cannot answer, and the connection moves to another node. */
  async #refreshHold(): Promise<void> {
    if (!this.#connection.hasSeveral || this.#holding === undefined) return;
    // If the connection is lost, the next one declares again.
    await this.declare().catch(() => undefined);
  }

  #warn(text: string, error: unknown): void {
    if (!this.#isClosing) this.#logger.warn({ contract: this.#broadcast.name, error: messageOf(error) }, text);
  }

  /**
   * Resolves once the message is written, or dropped because it cannot be written. After a drop, yields to the event loop, so that a caller
   * in a tight loop cannot starve reconnection or the closing of a channel.
   */
  async send<C extends Broadcast>(contract: C, message: Input<C["message"]>): Promise<void> {
    const body = encode(contract.name, contract.message, message);
    if (!this.#connection.isOpen) return this.#drop("disconnected");
    if (this.#connection.isBlocked) return this.#drop("blocked");
    if (this.#waiting.length >= maxWaiting || this.#waitingBytes + body.length > maxWaitingBytes)
      return this.#drop("buffer-full");
    const { promise, resolve } = Promise.withResolvers<boolean>();
    const properties = { ...propertiesOf(contract, this.#service, messageIdOf(undefined)), deliveryMode: 1 };
    this.#waiting.push({ body, properties, settled: resolve });
    this.#waitingBytes += body.length;
    this.#sending ??= this.#sendWaiting();
    if (!(await promise)) await nextTurn();
  }

  async close(): Promise<void> {
    clearInterval(this.#refresh);
    await this.#sending;
    this.#isClosing = true;
    await this.#channel?.close();
    this.#drops.close();
  }

  /**
   * Checks that the exchange exists, then writes all waiting messages: a publish to a missing exchange closes the channel and loses
   * everything written after it. The broker answers the next check only after it has accepted everything before it. So each burst is
   * either proven or known to be doubtful, and nothing is sent twice.
   */
  async #sendWaiting(): Promise<void> {
    while (this.#waiting.length > 0) {
      const stale = setInterval(() => this.#dropWaiting("stalled"), staleMs);
      try {
        if (!this.#isDeclared) await this.declare();
        const channel = await this.#connection.withWatchdog(() => this.#checkedChannel());
        const burst = this.#waiting;
        this.#waiting = [];
        this.#waitingBytes = 0;
        let isWritable = true;
        for (const { body, properties, settled } of burst) {
          isWritable = channel.raw.publish(this.#broadcast.name, "", body, properties);
          this.#unproven++;
          settled(true);
        }
        if (!isWritable) await this.#connection.withWatchdog(() => channel.drained());
      } catch (error) {
        // The exchange was missing, and the broker closed the channel: the waiting messages are sent on the next one.
        if (replyCodeOf(error) === 404) this.#isDeclared = false;
        else this.#dropWaiting("disconnected");
      } finally {
        clearInterval(stale);
      }
    }
    // Set in the same turn that saw no waiting message: later, a message added in between would never be sent.
    this.#sending = undefined;
  }

  async #checkedChannel(): Promise<Channel> {
    if (this.#channel?.isOpen !== true) this.#channel = await this.#open();
    const channel = this.#channel;
    await channel.raw.checkExchange(this.#broadcast.name);
    this.#unproven = 0;
    return channel;
  }

  async #open(): Promise<Channel> {
    const channel = await this.#connection.channel();
    void channel.lost.then((reason) => {
      // The broker answers a graceful close only after everything that was written.
      if (!this.#isClosing)
        this.#drops.count(replyCodeOf(reason) === 404 ? "exchange-gone" : "disconnected", this.#unproven);
      this.#unproven = 0;
    });
    return channel;
  }

  async #drop(reason: DropReason): Promise<void> {
    this.#drops.count(reason);
    await nextTurn();
  }

  #dropWaiting(reason: DropReason): void {
    this.#drops.count(reason, this.#waiting.length);
    for (const { settled } of this.#waiting) settled(false);
    this.#waiting = [];
    this.#waitingBytes = 0;
  }
}
