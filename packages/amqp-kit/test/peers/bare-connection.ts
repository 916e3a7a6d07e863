import amqplib, { type Channel, type ChannelModel } from "amqplib";

interface Bare {
  connection: ChannelModel;
  /** After a channel, so that all that was said on it is done. amqplib's own `close` waits for ever when the connection is lost meanwhile. */
  close: (channel?: Channel) => Promise<void>;
}

export async function bareConnection(url: string): Promise<Bare> {
  const connection = await amqplib.connect(url, { noDelay: true });
  connection.on("error", () => undefined);
  const ended = new Promise<void>((resolve) => connection.once("close", () => resolve()));
  async function closeInOrder(channel?: Channel): Promise<void> {
    await channel?.close();
    await connection.close();
  }
  return { connection, close: (channel) => Promise.race([closeInOrder(channel), ended]) };
}
