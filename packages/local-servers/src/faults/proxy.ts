import { once } from "node:events";
import { type AddressInfo, connect, createServer } from "node:net";
import { type CutHow, type Direction, directions, type FrameFilter, type Link, TcpLink } from "./link.ts";

/** A TCP proxy in front of one server. Its faults apply to all its links, including later ones. */
export interface Proxy extends AsyncDisposable {
  /** The server's URL with this proxy's port: same credentials, same path */
  readonly url: string;
  readonly port: number;
  /** The open connections, oldest first */
  readonly links: readonly Link[];
  readonly connections: number;
  /** The number of connections since the start, without refused ones */
  readonly accepted: number;
  cut(how?: CutHow): void;
  /** Cuts the next connection after so many bytes in this direction, for instance in the middle of its set-up. */
  cutAfter(bytes: number, direction: Direction): void;
  /** Forwards nothing, in one direction or both, and keeps the sockets open, as a dead link does. */
  freeze(direction?: Direction): void;
  /** Forwards the data that has accumulated, and resumes. */
  thaw(): void;
  /** Calls `filter` for each AMQP frame, on open links and on later ones. `undefined` lets everything pass. */
  filter(filter: FrameFilter | undefined): void;
  /** Forwards the frames that a filter held, in their order. */
  release(): void;
  /** Resets new connections immediately; open ones stay open. */
  refuse(): void;
  accept(): void;
  /** Delays each chunk in both directions. 0 ends it. */
  delay(ms: number): void;
  /** Limits each direction of each link to so many bytes per second. Infinity ends it. */
  throttle(bytesPerSecond: number): void;
  close(): Promise<void>;
}

/**
 * Starts a TCP proxy on a free port of 127.0.0.1.
 * @param targetUrl  the server: an `amqp:` or `postgres:` URL; filters need `amqp:`
 * @example
 * await using proxy = await startProxy(vhost.url);
 * const amqp = await connect(proxy.url, options);
 * proxy.filter(({ method }) => (method === amqpMethods.basicAck ? "hold" : "pass")); // no confirm arrives
 * proxy.cut();
 */
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
  /** All links with an open socket, including lost ones, whose client or server may have closed already */
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
      link.throttle(this.#bytesPerSecond);
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
    this.#links.forEach((link) => link.throttle(bytesPerSecond));
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
