import { join } from "node:path";
import { amqpMethods, startProcess, startProxy } from "@amqp-idioms/local-servers";
import { test } from "@amqp-idioms/local-servers/vitest";
import { describe, expect } from "vitest";
import { ClosedError, connect, defineSystem, notification } from "../../src/index.ts";
import { Order, orderPlaced, prices, quote, system } from "../contracts.ts";
import { recordingLogger } from "../recording.ts";
import { Shop } from "../shop.ts";
import { closeTimeoutMs, slackMs } from "../closing.ts";

const orderBilled = notification("order.billed", { message: Order });
const office = defineSystem({
  till: { notifies: [orderPlaced] },
  billing: { subscribes: [orderPlaced], notifies: [orderBilled] },
  ledger: { subscribes: [orderBilled] },
});

const order = (orderId: string): Order => ({ orderId, article: "lamp", pieces: 1 });
const ids = (prefix: string): string[] => Array.from({ length: 100 }, (_, index) => `${prefix}${index}`);

describe("close, while 100 handlers are at work and 100 notifications are unconfirmed,", () => {
  test("lets them finish, acknowledges, and loses or doubles nothing (pitfalls 32, 61)", async ({ vhost, cleanup }) => {
    const proxy = cleanup(await startProxy(vhost.url));
    const till = cleanup(await connect(vhost.url, { system: office, service: "till" }));
    // The broker's counts, which this waits for, come late on a busy machine
    const patient = { closeTimeoutMs: 30_000 };
    const billing = cleanup(await connect(proxy.url, { system: office, service: "billing", ...patient }));
    const { promise: gate, resolve: openGate } = Promise.withResolvers<void>();
    const begun: string[] = [];
    const handler = async ({ orderId }: Order): Promise<void> => {
      begun.push(orderId);
      await gate;
      await billing.notify(orderBilled, order(`handled ${orderId}`));
    };
    await billing.subscribe(orderPlaced, handler, { concurrency: 100 });
    // Twice as many as it takes at a time: the others stay for the next process
    await Promise.all([...ids("a"), ...ids("b")].map((orderId) => till.notify(orderPlaced, order(orderId))));
    await expect.poll(() => begun.length).toBe(100);
    let held = 0;
    proxy.filter((frame, direction) => {
      if (direction === "to-server" || frame.method !== amqpMethods.basicAck) return "pass";
      held++;
      return "hold";
    });
    const notified = Promise.allSettled(ids("c").map((orderId) => billing.notify(orderBilled, order(orderId))));
    await expect.poll(() => held).toBeGreaterThan(0);

    const closing = billing.close();
    let isClosed = false;
    void closing.then(() => (isClosed = true));
    openGate();
    await expect
      .poll(() => vhost.management.queue(vhost.name, "order.billed.ledger").then((queue) => queue?.messages))
      .toBe(200);
    expect(isClosed).toBe(false);
    proxy.filter(undefined);
    proxy.release();
    expect(await closing).toEqual([]);
    for (const outcome of await notified) expect(outcome).toEqual({ status: "fulfilled", value: undefined });

    expect(begun.length).toBe(100);
    const billed: string[] = [];
    const ledger = cleanup(await connect(vhost.url, { system: office, service: "ledger" }));
    await ledger.subscribe(orderBilled, ({ orderId }) => billed.push(orderId));
    await expect.poll(() => billed.length).toBe(200);
    expect(billed.toSorted()).toEqual([...ids("c"), ...begun.map((orderId) => `handled ${orderId}`)].toSorted());
    const rest: { orderId: string }[] = [];
    const next = cleanup(await connect(vhost.url, { system: office, service: "billing" }));
    await next.subscribe(orderPlaced, (placed) => rest.push(placed), { concurrency: 100 });
    await till.notify(orderPlaced, order("marker"));
    await expect.poll(() => rest.at(-1)?.orderId).toBe("marker");
    expect([...begun, ...rest.map(({ orderId }) => orderId)].toSorted()).toEqual(
      [...ids("a"), ...ids("b"), "marker"].toSorted(),
    );
  });

  test("ends at its time limit, tells the handlers, and leaves what was not done to the next process (pitfall 17)", async ({
    vhost,
    cleanup,
  }) => {
    const proxy = cleanup(await startProxy(vhost.url));
    const till = cleanup(await connect(vhost.url, { system: office, service: "till" }));
    const logger = recordingLogger();
    const billing = cleanup(await connect(proxy.url, { system: office, service: "billing", closeTimeoutMs, logger }));
    const { promise: never } = Promise.withResolvers<void>();
    const told: unknown[] = [];
    const begun: string[] = [];
    await billing.subscribe(
      orderPlaced,
      async ({ orderId }, { signal }) => {
        begun.push(orderId);
        signal.addEventListener("abort", () => told.push(signal.reason));
        if (!/[02468]$/.test(orderId)) await never;
      },
      { concurrency: 100 },
    );
    await Promise.all(ids("a").map((orderId) => till.notify(orderPlaced, order(orderId))));
    await expect.poll(() => new Set(begun).size).toBe(100);
    proxy.filter((frame, direction) =>
      direction === "to-client" && frame.method === amqpMethods.basicAck ? "hold" : "pass",
    );
    const sent = ids("c").map((messageId) => billing.notify(orderBilled, order(messageId), { messageId }));
    const outcomes = Promise.allSettled(sent);

    const since = performance.now();
    const unconfirmed = await billing.close();
    expect(performance.now() - since).toBeGreaterThan(closeTimeoutMs / 2 - 1);
    expect(performance.now() - since).toBeLessThan(closeTimeoutMs + slackMs);
    expect(unconfirmed.toSorted()).toEqual(ids("c").toSorted());
    expect(logger.lines).toContainEqual({
      level: "warn",
      facts: { unconfirmed },
      message: "closed with unconfirmed messages",
    });
    for (const outcome of await outcomes) {
      expect(outcome).toMatchObject({ status: "rejected", reason: { code: "AMQP_KIT_PUBLISH", outcome: "unknown" } });
    }
    expect(told.length).toBe(50);
    for (const reason of told) expect(reason).toBeInstanceOf(ClosedError);

    const again: string[] = [];
    const next = cleanup(await connect(vhost.url, { system: office, service: "billing" }));
    await next.subscribe(orderPlaced, ({ orderId }) => again.push(orderId));
    await till.notify(orderPlaced, order("marker"));
    await expect.poll(() => again.length).toBe(51);
    expect(again.toSorted()).toEqual([...ids("a").filter((id) => !/[02468]$/.test(id)), "marker"].toSorted());
  });
});

test("closing twice is fine, and so is `await using` after it; every verb then says that it was closed", async ({
  vhost,
}) => {
  const shop = await Shop.open(vhost.url);
  const { market, board, till, billing, warehouse } = shop.sessions;
  const [first, second] = await Promise.all([till.close(), till.close()]);
  expect(first).toEqual([]);
  expect(second).toBe(first);
  await shop.close();
  for (const session of Object.values(shop.sessions)) {
    await session[Symbol.asyncDispose]();
    expect(session.isReady).toBe(false);
  }
  const calls = [
    market.broadcast(prices, { article: "lamp", cents: 1 }),
    board.listen(prices, () => undefined),
    till.notify(orderPlaced, order("1")),
    billing.subscribe(orderPlaced, () => undefined),
    till.request(quote, { article: "lamp", pieces: 1 }),
    warehouse.respond(quote, () => ({ article: "lamp", cents: 1 })),
  ];
  for (const call of calls) await expect(call).rejects.toThrow(ClosedError);
});

describe("a process", () => {
  const processes = join(import.meta.dirname, "../processes");

  test("that closes exits by itself, and what it said has arrived (pitfall 33)", async ({ vhost, cleanup }) => {
    const board = cleanup(await connect(vhost.url, { system, service: "board" }));
    const billing = cleanup(await connect(vhost.url, { system, service: "billing" }));
    const heard: number[] = [];
    const billed: string[] = [];
    await board.listen(prices, ({ cents }) => heard.push(cents));
    await billing.subscribe(orderPlaced, ({ orderId }) => billed.push(orderId));
    const main = join(processes, "one-message.ts");
    const process = cleanup(await startProcess({ main, env: { AMQP_URL: vhost.url }, waitForReady: false }));
    expect(await process.exited).toMatchObject({ code: 0 });
    expect(process.lines.map(({ text }) => text)).toEqual(['{"msg":"closed"}']);
    await expect.poll(() => [heard, billed]).toEqual([[1], ["1"]]);
  });
});
