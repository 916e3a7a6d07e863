import { amqpMethods } from "@amqp-idioms/local-servers";
import type { Proxy } from "@amqp-idioms/local-servers";

/**
 * The channel on which something is published through a proxy, or its connection, closed by amqplib itself for a frame that makes no sense.
 * The broker hears of that with `release`; until it has answered, amqplib emits no `close`, and whatever is called throws.
 */
export class ClosedByAmqplib {
  readonly #proxy: Proxy;
  readonly #publishing = Promise.withResolvers<number>();
  readonly #closing = Promise.withResolvers<void>();

  /** @param proxy  before anything is published */
  constructor(proxy: Proxy) {
    this.#proxy = proxy;
    let publishing: number | undefined;
    proxy.filter(({ method, channel }, direction) => {
      if (method === amqpMethods.basicPublish) {
        publishing = channel;
        this.#publishing.resolve(channel);
      }
      const isItsClose = method === amqpMethods.channelClose && channel === publishing;
      if (direction === "to-client" || !(isItsClose || method === amqpMethods.connectionClose)) return "pass";
      this.#closing.resolve();
      return "hold";
    });
  }

  /** Resolves once it is closing. @param what  a header that follows no method, or a channel that there is not */
  async provoke(what: "channel" | "connection"): Promise<void> {
    const channel = await this.#publishing.promise;
    this.#proxy.links[0]?.inject(what === "channel" ? header(channel) : closeOk(channel + 100), "to-client");
    await this.#closing.promise;
  }

  release(): void {
    this.#proxy.filter(undefined);
    this.#proxy.release();
  }
}

const header = (channel: number): Buffer => frameOf(2, channel, "003c000000000000000000000000");
const closeOk = (channel: number): Buffer => frameOf(1, channel, "00140029");

function frameOf(type: number, channel: number, payload: string): Buffer {
  const bytes = Buffer.from(`00000000000000${payload}ce`, "hex");
  bytes.writeUInt8(type, 0);
  bytes.writeUInt16BE(channel, 1);
  bytes.writeUInt32BE(payload.length / 2, 3);
  return bytes;
}
