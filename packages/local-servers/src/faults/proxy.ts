import { once } from "node:events";
import { type AddressInfo, connect, createServer } from "node:net";
import { type CutHow, type Direction, directions, type FrameFilter, type Link, TcpLink } from "./link.ts";

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
