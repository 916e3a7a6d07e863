import { once } from "node:events";
import { type AddressInfo, connect, createServer, type Socket } from "node:net";
import { setTimeout as sleep } from "node:timers/promises";
import { type AmqpFrame, FrameReader } from "./amqp-frames.ts";

export type Direction = "to-server" | "to-client";

/** What becomes of an AMQP frame: "hold" keeps it until `release`, "drop" loses it, "cut" loses it and the connection, bytes take its place. */
export type Verdict = "pass" | "hold" | "drop" | "cut" | Buffer;

export type FrameFilter = (frame: AmqpFrame, direction: Direction, link: Link) => Verdict;

/** `reset` is a lost peer (RST), `end` a connection closed in order (FIN) but without a word of AMQP. */
export type CutHow = "reset" | "end";

/** A TCP proxy in front of one server. What is said of the proxy holds for its links, those that come later included. */
export interface Proxy extends AsyncDisposable {
  /** The server's URL with this proxy's port: same credentials, same path */
  readonly url: string;
  readonly port: number;
  /** The connections that stand now, oldest first */
  readonly links: readonly Link[];
  readonly connections: number;
  /** Connections since the start, those refused not counted */
  readonly accepted: number;
  cut(how?: CutHow): void;
  /** Cuts the next connection as soon as so many bytes have gone that way, for instance in the middle of set-up. */
  cutAfter(bytes: number, direction: Direction): void;
  /** Forwards nothing, one way or both, and keeps the sockets open, as a dead link does. */
  freeze(direction?: Direction): void;
  /** Forwards what has piled up, and goes on. */
  thaw(): void;
  /** Passes each AMQP frame by this first, on links made from now on and on those that stand. Without one everything passes. */
  filter(filter: FrameFilter | undefined): void;
  /** Forwards the frames that a filter held, in their order. */
  release(): void;
  /** New connections are reset at once; those that stand stay. */
  refuse(): void;
  accept(): void;
  /** Holds each chunk for so long, both ways. 0 ends that. */
  delay(ms: number): void;
  /** Lets so many bytes pass in a second, each way of each link. Infinity ends that. */
  throttle(bytesPerSecond: number): void;
  close(): Promise<void>;
}

/** One connection through the proxy. */
export interface Link {
  readonly id: number;
  readonly bytes: Readonly<Record<Direction, number>>;
  cut(how?: CutHow): void;
  /** A cable that was cut: what it carries vanishes, and neither side learns of it but by its own means. */
  lose(): void;
  /** Ends one direction in order (FIN); the other goes on. */
  halfClose(direction: Direction): void;
  /** Writes these bytes between two chunks, so that what follows no longer parses. */
  inject(bytes: Buffer, direction: Direction): void;
  freeze(direction?: Direction): void;
  thaw(): void;
  release(): void;
}

/** @param targetUrl an `amqp:` or `postgres:` URL; filters need the first */
export async function startProxy(targetUrl: string): Promise<Proxy> {
  const target = new URL(targetUrl);
  const isAmqp = target.protocol === "amqp:";
  const address = { host: target.hostname, port: Number(target.port || (isAmqp ? 5672 : 5432)) };
  const server = createServer({ allowHalfOpen: true });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  return new TcpProxy(server, address, target, isAmqp);
}

class TcpProxy implements Proxy {
  readonly url: string;
  readonly port: number;
  readonly #server: ReturnType<typeof createServer>;
  readonly #links = new Set<TcpLink>();
  #accepted = 0;
  #isRefusing = false;
  #frozen = new Set<Direction>();
  #delayMs = 0;
  #bytesPerSecond = Infinity;
  /** Lost links have no client any more, or no server: until both are gone, they are to be closed */
  readonly #unclosed = new Set<TcpLink>();
  #filter: FrameFilter | undefined;
  #cutNext: { bytes: number; direction: Direction } | undefined;

  constructor(
    server: ReturnType<typeof createServer>,
    address: { host: string; port: number },
    target: URL,
    isAmqp: boolean,
  ) {
    this.#server = server;
    this.port = (server.address() as AddressInfo).port;
    const url = new URL(target);
    url.hostname = "127.0.0.1";
    url.port = String(this.port);
    this.url = url.href;
    server.on("connection", (client) => {
      if (this.#isRefusing) {
        client.on("error", () => {}).resetAndDestroy();
        return;
      }
      this.#accepted += 1;
      const upstream = connect({ ...address, allowHalfOpen: true });
      const link = new TcpLink(this.#accepted, client, upstream, isAmqp);
      link.filter = this.#filter;
      link.delayMs = this.#delayMs;
      link.bytesPerSecond = this.#bytesPerSecond;
      link.cutAfter = this.#cutNext;
      this.#cutNext = undefined;
      this.#frozen.forEach((direction) => link.freeze(direction));
      this.#links.add(link);
      this.#unclosed.add(link);
      client.on("close", () => this.#links.delete(link));
      upstream.on("close", () => client.destroyed && this.#unclosed.delete(link));
      client.on("close", () => upstream.destroyed && this.#unclosed.delete(link));
    });
  }

  get links(): readonly Link[] {
    return [...this.#links];
  }

  get connections(): number {
    return this.#links.size;
  }

  get accepted(): number {
    return this.#accepted;
  }

  cut(how: CutHow = "reset"): void {
    this.#links.forEach((link) => link.cut(how));
  }

  cutAfter(bytes: number, direction: Direction): void {
    this.#cutNext = { bytes, direction };
  }

  freeze(direction?: Direction): void {
    for (const one of direction === undefined ? directions : [direction]) this.#frozen.add(one);
    this.#links.forEach((link) => link.freeze(direction));
  }

  thaw(): void {
    this.#frozen.clear();
    this.#links.forEach((link) => link.thaw());
  }

  filter(filter: FrameFilter | undefined): void {
    this.#filter = filter;
    this.#links.forEach((link) => {
      link.filter = filter;
    });
  }

  release(): void {
    this.#links.forEach((link) => link.release());
  }

  refuse(): void {
    this.#isRefusing = true;
  }

  accept(): void {
    this.#isRefusing = false;
  }

  delay(ms: number): void {
    this.#delayMs = ms;
    this.#links.forEach((link) => {
      link.delayMs = ms;
    });
  }

  throttle(bytesPerSecond: number): void {
    this.#bytesPerSecond = bytesPerSecond;
    this.#links.forEach((link) => {
      link.bytesPerSecond = bytesPerSecond;
    });
  }

  async close(): Promise<void> {
    if (!this.#server.listening) return;
    const closed = once(this.#server, "close");
    this.#server.close();
    this.#unclosed.forEach((link) => link.destroy());
    await closed;
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }
}

const directions = ["to-server", "to-client"] as const satisfies readonly Direction[];
const opposite = { "to-server": "to-client", "to-client": "to-server" } as const satisfies Record<Direction, Direction>;

/** What is held back in one direction, in the order in which it came. */
interface Lane {
  /** When the last of it may pass, by `performance.now()` */
  until: number;
  held: number;
  last: Promise<void>;
}

class TcpLink implements Link {
  readonly id: number;
  readonly bytes = { "to-server": 0, "to-client": 0 };
  filter: FrameFilter | undefined;
  delayMs = 0;
  bytesPerSecond = Infinity;
  cutAfter: { bytes: number; direction: Direction } | undefined;
  readonly #sockets: Record<Direction, Socket>;
  /** What waits while a direction is frozen; null stands for the end of the stream */
  readonly #waiting: Record<Direction, (Buffer | null)[]> = { "to-server": [], "to-client": [] };
  readonly #frozen = new Set<Direction>();
  readonly #held: { direction: Direction; bytes: Buffer }[] = [];
  readonly #lanes: Record<Direction, Lane> = {
    "to-server": { until: 0, held: 0, last: Promise.resolve() },
    "to-client": { until: 0, held: 0, last: Promise.resolve() },
  };
  #isCut = false;
  #isLost = false;

  constructor(id: number, client: Socket, upstream: Socket, isAmqp: boolean) {
    this.id = id;
    this.#sockets = { "to-server": upstream, "to-client": client };
    client.setNoDelay(true);
    upstream.setNoDelay(true);
    this.#forward(client, "to-server", isAmqp);
    this.#forward(upstream, "to-client", isAmqp);
  }

  #forward(from: Socket, direction: Direction, isAmqp: boolean): void {
    const frames = isAmqp ? new FrameReader(direction === "to-server") : undefined;
    from
      .on("data", (chunk) => {
        for (const { bytes, frame } of frames?.read(chunk) ?? [{ bytes: chunk, frame: undefined }]) {
          if (!this.#isCut) this.#judge(direction, bytes, frame);
        }
      })
      .on("end", () => this.#later(direction, null))
      // The other side learns of a reset or refused connection in the same way
      .on("error", () => {
        if (!this.#isLost) this.cut();
      });
  }

  #judge(direction: Direction, bytes: Buffer, frame: AmqpFrame | undefined): void {
    const verdict = frame === undefined ? "pass" : (this.filter?.(frame, direction, this) ?? "pass");
    if (verdict === "hold") this.#held.push({ direction, bytes });
    if (verdict === "cut") this.cut();
    if (verdict === "pass") this.#later(direction, bytes);
    if (typeof verdict === "object") this.#later(direction, verdict);
  }

  /** Never past what came before it, also when the delay has become shorter. */
  #later(direction: Direction, bytes: Buffer | null): void {
    const lane = this.#lanes[direction];
    const now = performance.now();
    const sendingMs = ((bytes?.length ?? 0) / this.bytesPerSecond) * 1000;
    lane.until = Math.max(lane.until, now + this.delayMs) + sendingMs;
    if (lane.held === 0 && lane.until <= now) return this.#deliver(direction, bytes);
    const { until } = lane;
    lane.held += 1;
    lane.last = lane.last.then(async () => {
      await sleep(Math.max(0, until - performance.now()), undefined, { ref: false });
      lane.held -= 1;
      this.#deliver(direction, bytes);
    });
  }

  #deliver(direction: Direction, bytes: Buffer | null): void {
    if (this.#isCut) return;
    if (this.#isLost) {
      // Its own FIN is the last that one side says; the other side never hears it
      if (bytes === null) this.#sockets[opposite[direction]].destroy();
      return;
    }
    if (this.#frozen.has(direction)) {
      this.#waiting[direction].push(bytes);
      return;
    }
    const socket = this.#sockets[direction];
    if (bytes === null) {
      socket.end();
      return;
    }
    const limit = this.cutAfter?.direction === direction ? this.cutAfter.bytes - this.bytes[direction] : Infinity;
    const passing = bytes.subarray(0, Math.max(0, Math.min(bytes.length, limit)));
    this.bytes[direction] += passing.length;
    socket.write(passing, () => {
      if (bytes.length >= limit) this.cut();
    });
  }

  cut(how: CutHow = "reset"): void {
    if (this.#isCut) return;
    this.#isCut = true;
    for (const direction of directions) {
      const socket = this.#sockets[direction];
      if (how === "reset") socket.resetAndDestroy();
      else socket.destroySoon();
    }
  }

  /** At once, and whatever is still to be sent to somebody who does not read. */
  destroy(): void {
    this.cut();
    for (const direction of directions) this.#sockets[direction].destroy();
  }

  lose(): void {
    this.#isLost = true;
    this.thaw();
  }

  halfClose(direction: Direction): void {
    this.#later(direction, null);
  }

  inject(bytes: Buffer, direction: Direction): void {
    this.#later(direction, bytes);
  }

  freeze(direction?: Direction): void {
    for (const one of direction === undefined ? directions : [direction]) {
      this.#frozen.add(one);
      // Not read any more, so that the sender's own buffers fill up
      this.#sockets[opposite[one]].pause();
    }
  }

  thaw(): void {
    this.#frozen.clear();
    for (const direction of directions) {
      for (const bytes of this.#waiting[direction].splice(0)) this.#deliver(direction, bytes);
      this.#sockets[direction].resume();
    }
  }

  release(): void {
    for (const { direction, bytes } of this.#held.splice(0)) this.#deliver(direction, bytes);
  }
}
