import { type ChannelModel, type ConfirmChannel, connect } from "amqplib";

/** A bare AMQP client with a confirm channel and one durable queue. */
export interface AmqpClient extends AsyncDisposable {
  publish(body: string): Promise<void>;
  /** Takes the oldest message. */
  get(): Promise<string | undefined>;
  /** Consumes an exclusive queue of its own. `cancelled` resolves when the broker takes it away. */
  listen(): Promise<{ queue: string; cancelled: Promise<string> }>;
  readonly isBlocked: boolean;
}

export const queue = "kept";

export async function openClient(url: string): Promise<AmqpClient> {
  const connection: ChannelModel = await connect(url);
  // Faults are what is tested here: without this they would end the process
  connection.on("error", () => {});
  let isBlocked = false;
  connection.on("blocked", () => (isBlocked = true)).on("unblocked", () => (isBlocked = false));
  const channel: ConfirmChannel = await connection.createConfirmChannel();
  channel.on("error", () => {});
  await channel.assertQueue(queue, { durable: true });
  return {
    get isBlocked() {
      return isBlocked;
    },
    async publish(body) {
      const { promise, resolve, reject } = Promise.withResolvers<void>();
      channel.sendToQueue(queue, Buffer.from(body), { persistent: true }, (error: unknown) =>
        error ? reject(new Error("not confirmed", { cause: error })) : resolve(),
      );
      await promise;
    },
    async get() {
      const message = await channel.get(queue, { noAck: true });
      return message === false ? undefined : message.content.toString();
    },
    async listen() {
      const own = await channel.assertQueue("", { exclusive: true });
      const { promise: cancelled, resolve } = Promise.withResolvers<string>();
      await channel.consume(own.queue, (message) => {
        if (message === null) resolve("cancelled");
      });
      return { queue: own.queue, cancelled };
    },
    async [Symbol.asyncDispose]() {
      await connection.close().catch(() => {});
    },
  };
}
