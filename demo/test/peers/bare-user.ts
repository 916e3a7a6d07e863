/** One user of the broker in plain amqplib: does what it was not meant to do. */
import amqplib, { type ConfirmChannel } from "amqplib";

export async function bareUser(url: string) {
  const connection = await amqplib.connect(url, { noDelay: true });
  connection.on("error", () => {});

  /** Tries something on a channel of its own. @returns the broker's refusal in its words, or what came of it */
  async function attempt(work: (channel: ConfirmChannel) => Promise<unknown>): Promise<unknown> {
    const channel = await connection.createConfirmChannel();
    const refused = Promise.withResolvers<string>();
    channel.on("error", ({ message }: Error) => refused.resolve(message));
    try {
      return await work(channel);
    } catch (error) {
      // What a publish is refused for comes as an error of its channel; the rejection says only that this one is closed
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
