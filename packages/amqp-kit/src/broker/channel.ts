import type { Channel as AmqplibChannel } from "amqplib";

/** A channel that knows whether it is open, and why it no longer is. */
export class Channel<Raw extends AmqplibChannel = AmqplibChannel> {
  readonly raw: Raw;
  readonly lost: Promise<Error>;
  /** Not from when it begins to close: it takes nothing any more, and is lost once the broker has answered. */
  isOpen = true;
  #reason: Error | undefined;

  constructor(raw: Raw, connectionError: () => Error | undefined) {
    this.raw = raw;
    raw.on("error", (error) => (this.#reason = error));
    const { promise, resolve } = Promise.withResolvers<Error>();
    raw.on("close", () => {
      this.isOpen = false;
      resolve(this.#reason ?? connectionError() ?? new Error("the channel was closed"));
    });
    this.lost = promise;
  }

  /** Resolves when what is written has left, or never will. A race with `lost` would leave a trace of each wait on it. */
  async drained(): Promise<void> {
    const { promise, resolve } = Promise.withResolvers<void>();
    this.raw.on("drain", resolve).on("close", resolve);
    await promise;
    this.raw.off("drain", resolve).off("close", resolve);
  }

  /**
   * Closes it after what is written. Resolves once it is closed, also when that was begun, or done, before.
   * @param reason  what `lost` then resolves with
   */
  async close(reason?: Error): Promise<void> {
    if (this.isOpen) {
      this.isOpen = false;
      this.#reason ??= reason;
      await Promise.race([this.raw.close().catch(() => undefined), this.lost]);
    } else {
      await this.lost;
    }
  }
}

/** The reply code of a channel or connection that the broker closed. */
export function replyCodeOf(error: unknown): number | undefined {
  if (!(error instanceof Error)) return undefined;
  if ("code" in error && typeof error.code === "number") return error.code;
  // amqplib keeps to itself why the broker did not open the virtual host.
  if (error.message.startsWith("Expected ConnectionOpenOk; got <ConnectionClose")) return 530;
  const code = /terminated by server: (\d{3})/.exec(error.message)?.[1];
  return code === undefined ? undefined : Number(code);
}
