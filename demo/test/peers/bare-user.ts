/** A user of the broker with plain amqplib, which tries what it has no permission for. */
import amqplib, { type ConfirmChannel } from "amqplib";

export async function bareUser(url: string) {
  const connection = await amqplib.connect(url, { noDelay: true });
  connection.on("error", () => {});

  /** Runs `work` on a new channel. @returns its result, or the text of the broker's refusal */
  async function attempt(work: (channel: ConfirmChannel) => Promise<unknown>): Promise<unknown> {
    const channel = await connection.createConfirmChannel();
    const refused = Promise.withResolvers<string>();
    channel.on("error", ({ message }: Error) => refused.resolve(message));
    try {
      return await work(channel);
    } catch (error) {
      // The channel's error has the reason for a refused publish; the rejection says only that the channel is closed
      return error instanceof Error && error.message !== "channel closed" ? error.message : await refused.promise;
    } finally {
      await channel.close().catch(() => undefined);
    }
  }

  return {
    attempt,
    publish: (exchange: string, key: string) =>
      attempt(async (channel) => {
        channel.publish(exchange, key, Buffer.from("{}"));
        await channel.waitForConfirms();
        return "published";
      }),
    [Symbol.asyncDispose]: () => connection.close(),
  };
}
