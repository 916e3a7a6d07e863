import { amqpMethods, startProxy } from "@amqp-idioms/local-servers";
import { test } from "@amqp-idioms/local-servers/vitest";
import { describe, expect } from "vitest";
import { connect, defineSystem, InvalidMessageError, MessageTooLargeError } from "../../src/index.ts";
import { orderPlaced, prices, system } from "../contracts.ts";
import { ClosedByAmqplib } from "../closed-by-amqplib.ts";
import { bareSender } from "../peers/bare-broadcast.ts";
import { countDrops, recordEvents, recordingLogger } from "../recording.ts";
import { lamp, numbers } from "../broadcasting.ts";

describe("broadcast, from a sender", () => {
  test("order per sender is kept even if two send at the same time", async ({ vhost, cleanup }) => {
    const board = cleanup(await connect(vhost.url, { system, service: "board" }));
    const heard: Record<string, number[]> = { lamp: [], sofa: [] };
    await board.listen(prices, ({ article, cents }) => heard[article]?.push(cents));
    const send = async (article: string): Promise<void> => {
      const market = cleanup(await connect(vhost.url, { system, service: "market" }));
      const sent = numbers(1, 400).map((cents) => market.broadcast(prices, { article, cents }));
      await Promise.all(sent);
    };
    await Promise.all([send("lamp"), send("sofa")]);
    await expect.poll(() => heard).toEqual({ lamp: numbers(1, 400), sofa: numbers(1, 400) });
  });

  test("invalid and over-large messages reject before the wire, naming field, rule, size and limit", async ({
    vhost,
    cleanup,
  }) => {
    const market = cleanup(await connect(vhost.url, { system, service: "market" }));
    const invalid = market.broadcast(prices, { article: "Maria Schmidt", cents: -1 });
    await expect(invalid).rejects.toBeInstanceOf(InvalidMessageError);
    await expect(invalid).rejects.toMatchObject({
      code: "AMQP_KIT_INVALID_MESSAGE",
      contract: "prices",
      retryable: false,
      issues: [{ path: "cents", rule: expect.any(String) }],
    });
    await expect(invalid).rejects.not.toThrow("Maria");
    const large = market.broadcast(prices, { article: "x".repeat(1024 * 1024), cents: 1 });
    await expect(large).rejects.toBeInstanceOf(MessageTooLargeError);
    await expect(large).rejects.toMatchObject({ bytes: expect.any(Number), maxBytes: 1024 * 1024 });
  });

  test("the connection drops: what is sent meanwhile resolves immediately, is dropped and counted; both sides reconnect (pitfall 4)", async ({
    vhost,
    cleanup,
  }) => {
    using drops = countDrops("prices");
    const proxy = cleanup(await startProxy(vhost.url));
    const market = cleanup(await connect(proxy.url, { system, service: "market" }));
    const board = cleanup(await connect(proxy.url, { system, service: "board" }));
    const heard: number[] = [];
    await board.listen(prices, ({ cents }) => heard.push(cents));
    await market.broadcast(prices, lamp(1));
    await expect.poll(() => heard).toEqual([1]);

    proxy.refuse();
    proxy.cut();
    await expect.poll(() => [market.isReady, board.isReady]).toEqual([false, false]);
    const before = performance.now();
    for (const cents of numbers(2, 101)) await market.broadcast(prices, lamp(cents));
    expect(performance.now() - before).toBeLessThan(500);
    // The one before the cut may count, too: nobody has told the sender that it arrived
    expect([100, 101]).toContain(drops.byReason()["disconnected"]);

    proxy.accept();
    await expect.poll(() => [market.isReady, board.isReady]).toEqual([true, true]);
    await market.broadcast(prices, lamp(102));
    await expect.poll(() => heard).toEqual([1, 102]);
  });

  test("a sender in a tight loop while disconnected does not prevent its own reconnection", async ({
    vhost,
    cleanup,
  }) => {
    const proxy = cleanup(await startProxy(vhost.url));
    const market = cleanup(await connect(proxy.url, { system, service: "market" }));
    proxy.cut();
    await expect.poll(() => market.isReady).toBe(false);
    while (!market.isReady) await market.broadcast(prices, lamp(1));
    expect(market.isReady).toBe(true);
  });

  test.for(["channel", "connection"] as const)(
    "a sender in a tight loop while amqplib closes its %s lets the event loop run (pitfall 7a)",
    async (what, { vhost, cleanup }) => {
      const proxy = cleanup(await startProxy(vhost.url));
      const publishing = new ClosedByAmqplib(proxy);
      const market = cleanup(await connect(proxy.url, { system, service: "market", closeTimeoutMs: 500 }));
      await market.broadcast(prices, lamp(1));
      await publishing.provoke(what);
      let turns = 0;
      const turning = setInterval(() => turns++, 0);
      for (let some = 0; some < 2_000; some++) await market.broadcast(prices, lamp(2));
      clearInterval(turning);
      expect(turns).toBeGreaterThan(0);
      expect(market.isReady).toBe(what === "channel");
    },
  );

  test("a stalled link delays a sender by at most two seconds, and the drops are counted (pitfall 34)", async ({
    vhost,
    cleanup,
  }) => {
    using drops = countDrops("prices");
    const proxy = cleanup(await startProxy(vhost.url));
    const market = cleanup(await connect(proxy.url, { system, service: "market", closeTimeoutMs: 1_000 }));
    await market.broadcast(prices, lamp(1));
    proxy.freeze();
    const before = performance.now();
    await Promise.all(numbers(1, 2_000).map((cents) => market.broadcast(prices, lamp(cents))));
    expect(performance.now() - before).toBeLessThan(2_500);
    expect(drops.byReason()).toEqual({ stalled: 1_000, "buffer-full": 1_000 });
  });

  test("a sender that may not hold its exchange still works: the next message declares it again", async ({
    vhost,
    cleanup,
  }) => {
    const user = `sender-${vhost.name}`;
    const permissions = { vhost: vhost.name, configure: "^prices$", write: "^prices$", read: "^$" };
    await vhost.management.createUser(user, "secret", permissions);
    cleanup(() => vhost.management.deleteUser(user));
    const url = Object.assign(new URL(vhost.url), { username: user, password: "secret" }).href;
    const logger = recordingLogger();
    const market = cleanup(await connect(url, { system, service: "market", logger }));
    const board = cleanup(await connect(vhost.url, { system, service: "board" }));
    const heard: number[] = [];
    for (const cents of numbers(1, 10)) {
      await market.broadcast(prices, lamp(0));
      const listening = await board.listen(prices, (update) => heard.push(update.cents));
      await market.broadcast(prices, lamp(cents));
      await expect.poll(() => heard).toEqual(numbers(1, cents));
      await listening.stop();
      await expect.poll(() => vhost.management.exchanges(vhost.name)).toEqual([]);
    }
    expect(logger.lines).toContainEqual({
      level: "warn",
      facts: { contract: "prices", error: expect.stringMatching(/holds exchange "prices".*not permitted/) },
      message: "cannot hold the exchange",
    });
  });

  test("a deleted exchange affects nothing else: notifications of the same process continue, and no connection is lost (pitfall 7)", async ({
    vhost,
    cleanup,
  }) => {
    using connections = recordEvents("connection");
    const both = defineSystem({
      shop: { broadcasts: [prices], notifies: [orderPlaced] },
      billing: { subscribes: [orderPlaced] },
    });
    const shop = cleanup(await connect(vhost.url, { system: both, service: "shop" }));
    const stranger = cleanup(await bareSender(vhost.url, "prices"));
    for (const pieces of numbers(1, 50)) {
      await stranger.deleteExchange();
      const order = { orderId: String(pieces), article: "lamp", pieces };
      await Promise.all([shop.broadcast(prices, lamp(1)), shop.notify(orderPlaced, order)]);
    }
    const kept = await vhost.management.getMessages(vhost.name, "order.placed.billing");
    expect(kept.map(({ payload }) => JSON.parse(payload).pieces)).toEqual(numbers(1, 50));
    expect(connections.all.map(({ state }) => state)).toEqual(["open"]);
  });

  test("a message sent to a deleted exchange, before the sender knows, still reaches a listener that is there (pitfall 18)", async ({
    vhost,
    cleanup,
  }) => {
    const proxy = cleanup(await startProxy(vhost.url));
    const market = cleanup(await connect(proxy.url, { system, service: "market" }));
    const board = cleanup(await connect(vhost.url, { system, service: "board" }));
    const stranger = cleanup(await bareSender(vhost.url, "prices"));
    await market.broadcast(prices, lamp(1));
    let held = 0;
    proxy.filter(({ method }, direction) => {
      if (method !== amqpMethods.channelClose || direction === "to-server") return "pass";
      held++;
      return "hold";
    });
    await stranger.deleteExchange();
    const intoTheVoid = market.broadcast(prices, lamp(2));
    await expect.poll(() => held).toBe(1);
    const heard: number[] = [];
    await board.listen(prices, ({ cents }) => heard.push(cents));
    const told = market.broadcast(prices, lamp(3));
    proxy.filter(undefined);
    proxy.release();
    await Promise.all([intoTheVoid, told]);
    await expect.poll(() => heard.at(-1)).toBe(3);
  });

  test("the broker is blocked: broadcast resolves immediately, is dropped and counted, and resumes afterwards (pitfall 107)", async ({
    ownBroker,
    cleanup,
  }) => {
    using drops = countDrops("prices");
    const market = cleanup(await connect(ownBroker.url, { system, service: "market" }));
    const board = cleanup(await connect(ownBroker.url, { system, service: "board" }));
    const heard: number[] = [];
    await board.listen(prices, ({ cents }) => heard.push(cents));
    await ownBroker.raiseMemoryAlarm();
    // The broker says so when the connection publishes
    await expect
      .poll(async () => (await market.broadcast(prices, lamp(1)), drops.byReason()["blocked"]))
      .toBeGreaterThan(0);
    const already = drops.byReason()["blocked"] ?? 0;
    const before = performance.now();
    for (const cents of numbers(1, 100)) await market.broadcast(prices, lamp(cents));
    expect(performance.now() - before).toBeLessThan(500);
    expect(drops.byReason()["blocked"]).toBe(already + 100);
    await ownBroker.clearMemoryAlarm();
    await expect.poll(async () => (await market.broadcast(prices, lamp(2)), heard)).toContain(2);
  });
});
