/** An AMQP 0-9-1 frame, its payload not decoded. */
export interface AmqpFrame {
  type: "method" | "header" | "body" | "heartbeat" | "unknown";
  channel: number;
  /** `class.method` as in the specification's index, for instance "60.80" for basic.ack; undefined unless a method */
  method: string | undefined;
  size: number;
  payload: Buffer;
  /** The whole frame, from its type to its end octet */
  bytes: Buffer;
}

/** The method numbers that filters compare with `frame.method`. */
export const amqpMethods = {
  connectionStart: "10.10",
  connectionTune: "10.30",
  connectionOpenOk: "10.41",
  connectionClose: "10.50",
  channelOpen: "20.10",
  channelOpenOk: "20.11",
  channelClose: "20.40",
  exchangeDeclare: "40.10",
  exchangeDeclareOk: "40.11",
  queueDeclare: "50.10",
  queueDeclareOk: "50.11",
  queueBind: "50.20",
  queueBindOk: "50.21",
  basicConsume: "60.20",
  basicConsumeOk: "60.21",
  basicCancelOk: "60.31",
  basicPublish: "60.40",
  basicReturn: "60.50",
  basicDeliver: "60.60",
  basicAck: "60.80",
  basicNack: "60.120",
  confirmSelectOk: "85.11",
} as const;

const frameTypes: Record<number, AmqpFrame["type"]> = { 1: "method", 2: "header", 3: "body", 8: "heartbeat" };

/** Splits one direction of a connection into frames. */
export class FrameReader {
  #rest: Buffer = Buffer.alloc(0);
  #isBeforeHeader: boolean;

  /** @param startsWithHeader  true for the direction from the client, which begins with a protocol header of eight bytes */
  constructor(startsWithHeader: boolean) {
    this.#isBeforeHeader = startsWithHeader;
  }

  read(chunk: Buffer): { bytes: Buffer; frame: AmqpFrame | undefined }[] {
    this.#rest = this.#rest.length === 0 ? chunk : Buffer.concat([this.#rest, chunk]);
    const found: { bytes: Buffer; frame: AmqpFrame | undefined }[] = [];
    if (this.#isBeforeHeader && this.#rest.length >= 8) {
      found.push({ bytes: this.#take(8), frame: undefined });
      this.#isBeforeHeader = false;
    }
    while (!this.#isBeforeHeader && this.#rest.length >= 8) {
      const size = this.#rest.readUInt32BE(3);
      if (this.#rest.length < size + 8) break;
      const bytes = this.#take(size + 8);
      const type = frameTypes[bytes[0] ?? 0] ?? "unknown";
      const method = type === "method" ? `${bytes.readUInt16BE(7)}.${bytes.readUInt16BE(9)}` : undefined;
      found.push({
        bytes,
        frame: { type, channel: bytes.readUInt16BE(1), method, size, payload: bytes.subarray(7, -1), bytes },
      });
    }
    return found;
  }

  #take(length: number): Buffer {
    const bytes = this.#rest.subarray(0, length);
    this.#rest = this.#rest.subarray(length);
    return bytes;
  }
}
