/** The whole shop at work over one address, all six verbs in use, with a ledger of what was promised and what came. */
import { setTimeout as sleep } from "node:timers/promises";
import { connect } from "../src/index.ts";
import type { Amqp, Logger, TlsOptions } from "../src/index.ts";
import { orderPlaced, prices, quote, system } from "./contracts.ts";

type System = typeof system;
type Sessions = { [N in keyof System]: Amqp<System[N]> };

/** What stands on the broker for it once all verbs were used. */
export const standing = { connections: 8, channels: 9, consumers: 5 };

export class Shop implements AsyncDisposable {
  readonly sessions: Sessions;
  /** Orders whose notification was confirmed */
  readonly confirmed: string[] = [];
  /** How often each order was handled */
  readonly billed = new Map<string, number>();
  readonly shipped = new Map<string, number>();
  /** Prices that the board heard */
  readonly heard: number[] = [];
  /** Answers to requests, each found to be its own */
  answers = 0;
  /** What the verbs rejected with while the shop worked */
  readonly failures: unknown[] = [];
  #working: Promise<unknown> | undefined;
  #isWorking = false;
  #last = 0;

  /** @param url  or the URLs of a cluster */
  static async open(
    url: string | readonly string[],
    options: { logger?: Logger; closeTimeoutMs?: number; tls?: TlsOptions } = {},
  ): Promise<Shop> {
    const join = <N extends keyof System>(service: N): Promise<Amqp<System[N]>> =>
      connect(url, { system, service, ...options });
    const [market, board, till, billing, shipping, warehouse] = await Promise.all([
      join("market"),
      join("board"),
      join("till"),
      join("billing"),
      join("shipping"),
      join("warehouse"),
    ]);
    const shop = new Shop({ market, board, till, billing, shipping, warehouse });
    await board.listen(prices, ({ cents }) => shop.heard.push(cents));
    await billing.subscribe(orderPlaced, ({ orderId }) => count(shop.billed, orderId));
    await shipping.subscribe(orderPlaced, ({ orderId }) => count(shop.shipped, orderId));
    await warehouse.respond(quote, ({ article, pieces }) => ({ article, cents: pieces * 2 }));
    return shop;
  }

  private constructor(sessions: Sessions) {
    this.sessions = sessions;
  }

  get isReady(): boolean {
    return Object.values(this.sessions).every(({ isReady }) => isReady);
  }

  /** Each verb has had its effect, a hundred times. */
  get isAtWork(): boolean {
    return Math.min(this.heard.length, this.billed.size, this.shipped.size, this.answers) > 100;
  }

  /** Confirmed, but not handled by both subscribers (yet) */
  get missing(): string[] {
    return this.confirmed.filter((orderId) => !this.billed.has(orderId) || !this.shipped.has(orderId));
  }

  /** Uses all verbs, over and over, until told to rest. */
  work(): void {
    this.#isWorking = true;
    this.#working = Promise.all(
      [() => this.broadcast(), () => this.notify(), () => this.request()].map(async (use) => {
        while (this.#isWorking) {
          await use().catch((error: unknown) => this.failures.push(error));
          await sleep(2);
        }
      }),
    );
  }

  async rest(): Promise<void> {
    this.#isWorking = false;
    await this.#working;
  }

  async broadcast(): Promise<number> {
    const cents = ++this.#last;
    await this.sessions.market.broadcast(prices, { article: "lamp", cents });
    return cents;
  }

  async notify(): Promise<string> {
    const orderId = String(++this.#last);
    const order = { orderId, article: "lamp", pieces: 1 };
    await this.sessions.till.notify(orderPlaced, order, { messageId: orderId, timeoutMs: 3_000 });
    this.confirmed.push(orderId);
    return orderId;
  }

  async request(): Promise<void> {
    const pieces = ++this.#last;
    const { cents } = await this.sessions.till.request(quote, { article: "lamp", pieces }, { timeoutMs: 3_000 });
    if (cents !== pieces * 2) throw new Error(`the answer to ${pieces} was that to another request: ${cents}`);
    this.answers++;
  }

  /** @returns the ids of what was not confirmed */
  async close(): Promise<string[]> {
    await this.rest();
    const unconfirmed = await Promise.all(Object.values(this.sessions).map((session) => session.close()));
    return unconfirmed.flat();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }
}

function count(counts: Map<string, number>, key: string): void {
  counts.set(key, (counts.get(key) ?? 0) + 1);
}
