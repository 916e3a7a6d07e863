import type { Channel as AmqplibChannel } from "amqplib";

/** A channel that knows whether it is open, and why it was lost. */
export class Channel<Raw extends AmqplibChannel = AmqplibChannel> {
  readonly raw: Raw;
  readonly lost: Promise<Error>;
  /** False as soon as closing starts: the channel accepts nothing any more. `lost` resolves once the broker has answered. */
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

  /** Resolves when the write buffer is drained or the channel has closed. Not a race with `lost`, which would keep every call until the channel closes. */
  async drained(): Promise<void> {
    const { promise, resolve } = Promise.withResolvers<void>();
    this.raw.on("drain", resolve).on("close", resolve);
    await promise;
    this.raw.off("drain", resolve).off("close", resolve);
  }

  /**
   * Closes the channel after everything that is written. Resolves once it is closed, even if another call has started or finished closing it.
   * @param reason  the error with which `lost` resolves
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

/** The AMQP reply code with which the broker closed a channel or connection. */
export function replyCodeOf(error: unknown): number | undefined {
  if (!(error instanceof Error)) return undefined;
  if ("code" in error && typeof error.code === "number") return error.code;
  // amqplib does not report why the broker refused to open the virtual host.
  if (error.message.startsWith("Expected ConnectionOpenOk; got <ConnectionClose")) return 530;
  const code = /terminated by server: (\d{3})/.exec(error.message)?.[1];
  return code === undefined ? undefined : Number(code);
}
