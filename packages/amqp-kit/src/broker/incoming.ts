import type { ConsumeMessage } from "amqplib";
import type { Channel } from "./channel.ts";

/** A message with the channel that delivered it: it is settled once, and only there. */
export class Incoming {
  readonly message: ConsumeMessage;
  readonly channel: Channel;
  /** Aborts when the channel is lost, or when `close` runs out of time. */
  readonly abort = new AbortController();
  #isSettled = false;

  constructor(message: ConsumeMessage, channel: Channel) {
    this.message = message;
    this.channel = channel;
  }

  /** Does nothing on a lost channel: the broker redelivers the message. */
  ack(): void {
    this.#settle(() => this.channel.raw.ack(this.message));
  }

  /** Returns the message to its queue. The broker redelivers it immediately. */
  requeue(): void {
    this.#settle(() => this.channel.raw.nack(this.message, false, true));
  }

  #settle(settle: () => void): void {
    if (this.#isSettled || !this.channel.isOpen) return;
    this.#isSettled = true;
    try {
      settle();
    } catch {
      // amqplib is closing the channel for a reason of its own. The channel is as good as lost, but `isOpen` is still true.
    }
  }
}
