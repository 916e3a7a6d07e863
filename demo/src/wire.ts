import { type AmqpFrame, amqpMethods, type Direction, type FrameFilter, type Link } from "@amqp-idioms/local-servers";

/** A message that a service published or received, read from the frames between it and the broker (AMQP 0-9-1, sections 2.3.5 and 4.2.6). */
export interface WireMessage {
  direction: "published" | "delivered";
  exchange: string;
  routingKey: string;
  messageId: string | undefined;
  correlationId: string | undefined;
  replyTo: string | undefined;
  body: string;
}

interface Unfinished extends WireMessage {
  bodySize: number;
  chunks: Buffer[];
}

/** Records the messages that pass through a proxy: `proxy.filter(wire.filter)`. */
export class Wire {
  readonly messages: WireMessage[] = [];
  readonly #unfinished = new Map<string, Unfinished>();

  readonly filter: FrameFilter = (frame, direction, link) => {
    this.#read(frame, direction, link);
    return "pass";
  };

  #read(frame: AmqpFrame, direction: Direction, link: Link): void {
    const key = `${link.id} ${direction} ${frame.channel}`;
    if (frame.type === "method") {
      const begun = beginOf(frame);
      if (begun !== undefined) this.#unfinished.set(key, begun);
      return;
    }
    const message = this.#unfinished.get(key);
    if (message === undefined) return;
    if (frame.type === "header") readHeader(frame.payload, message);
    if (frame.type === "body") message.chunks.push(frame.payload);
    const size = message.chunks.reduce((sum, chunk) => sum + chunk.length, 0);
    if (size < message.bodySize) return;
    this.#unfinished.delete(key);
    const { bodySize: _, chunks, ...rest } = message;
    this.messages.push({ ...rest, body: Buffer.concat(chunks).toString() });
  }
}

function beginOf({ method, payload }: AmqpFrame): Unfinished | undefined {
  const cursor = new Cursor(payload, 4);
  const rest = {
    messageId: undefined,
    correlationId: undefined,
    replyTo: undefined,
    body: "",
    bodySize: 0,
    chunks: [],
  };
  if (method === amqpMethods.basicPublish) {
    cursor.skip(2);
    return { direction: "published", exchange: cursor.shortString(), routingKey: cursor.shortString(), ...rest };
  }
  if (method === amqpMethods.basicDeliver) {
    cursor.shortString();
    cursor.skip(9);
    return { direction: "delivered", exchange: cursor.shortString(), routingKey: cursor.shortString(), ...rest };
  }
  return undefined;
}

/** Reads the body size and some properties, which are in the order of their flags, the highest bit first. */
function readHeader(payload: Buffer, message: Unfinished): void {
  message.bodySize = Number(payload.readBigUInt64BE(4));
  const flags = payload.readUInt16BE(12);
  const has = (bit: number): boolean => (flags & (1 << bit)) !== 0;
  const cursor = new Cursor(payload, 14);
  if (has(15)) cursor.shortString(); // content_type
  if (has(14)) cursor.shortString(); // content_encoding
  if (has(13)) cursor.table(); // headers
  if (has(12)) cursor.skip(1); // delivery_mode
  if (has(11)) cursor.skip(1); // priority
  if (has(10)) message.correlationId = cursor.shortString();
  if (has(9)) message.replyTo = cursor.shortString();
  if (has(8)) cursor.shortString(); // expiration
  if (has(7)) message.messageId = cursor.shortString();
}

class Cursor {
  readonly #bytes: Buffer;
  #at: number;

  constructor(bytes: Buffer, at: number) {
    this.#bytes = bytes;
    this.#at = at;
  }

  skip(bytes: number): void {
    this.#at += bytes;
  }

  table(): void {
    this.skip(4 + this.#bytes.readUInt32BE(this.#at));
  }

  shortString(): string {
    const from = this.#at + 1;
    this.#at = from + this.#bytes.readUInt8(this.#at);
    return this.#bytes.toString("utf8", from, this.#at);
  }
}
