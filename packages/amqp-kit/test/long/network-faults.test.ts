import { setTimeout as sleep } from "node:timers/promises";
import { join } from "node:path";
import { amqpMethods, startProcess, startProxy } from "@amqp-idioms/local-servers";
import type { FrameFilter, Proxy, VirtualHost } from "@amqp-idioms/local-servers";
import { type Cleanup, test } from "@amqp-idioms/local-servers/vitest";
import { describe, expect } from "vitest";
import { connect, defineSystem } from "../../src/index.ts";
import type { Delivery } from "../../src/index.ts";
import { orderPlaced, prices, quote, system } from "../contracts.ts";
import { countDrops, recordEvents, recordingLogger } from "../recording.ts";
import { Shop, standing } from "../shop.ts";
import { countsOf, expectToRecover, expectToStand, patience } from "../shop-recovery.ts";

/** How long a link is dead in the faults that end by themselves. */
const deadMs = 3_000;
const heartbeatSeconds = 5;

interface Scene {
  proxy: Proxy;
  vhost: VirtualHost;
}

const faults: Record<string, (scene: Scene) => Promise<unknown>> = {
  "the connections closed by an operator": async ({ vhost }) => {
    await expectToStand(vhost);
    expect(await vhost.management.closeConnections(vhost.name)).toBe(standing.connections);
  },
  "the network cut": async ({ proxy }) => proxy.cut("reset"),
  "the sockets closed in order, without a word of AMQP": async ({ proxy }) => proxy.cut("end"),
  "one connection cut after the other": async ({ proxy }) => {
    for (const link of proxy.links) {
      link.cut();
      await sleep(100);
    }
  },
  "the network frozen for a while": async ({ proxy }) => {
    proxy.freeze();
    await sleep(deadMs);
    proxy.thaw();
  },
  "the network frozen one way for a while": async ({ proxy }) => {
    proxy.freeze("to-client");
    await sleep(deadMs);
    proxy.thaw();
  },
  "the network frozen until heartbeats fail": async ({ proxy }) => {
    using events = recordEvents("connection");
    proxy.freeze();
    const lost = (): number => events.all.filter(({ state }) => state === "lost").length;
    await expect.poll(lost, patience).toBe(standing.connections);
    proxy.thaw();
  },
  "every channel that publishes closed by the server": async ({ vhost }) => {
    for (const exchange of ["prices", "order.placed", "shop"])
      await vhost.management.deleteExchange(vhost.name, exchange);
  },
  "every channel that consumes closed, a frame of a delivery having got lost": async ({ proxy }) => {
    const hit = new Set<number>();
    proxy.filter((frame, direction, link) => {
      if (direction === "to-server" || frame.type !== "header" || hit.has(link.id)) return "pass";
      hit.add(link.id);
      return "drop";
    });
    await expect.poll(() => hit.size, patience).toBe(standing.consumers);
    proxy.filter(undefined);
  },
};

describe("with all six verbs in use", () => {
  for (const [name, inflict] of Object.entries(faults)) {
    const promise = `${name}: afterwards every verb works again by itself, and nothing confirmed is lost (pitfall 3)`;
    test(promise, { timeout: 120_000 }, async ({ vhost, cleanup }) => {
      const proxy = cleanup(await startProxy(`${vhost.url}?heartbeat=${heartbeatSeconds}`));
      const shop = cleanup(await Shop.open(proxy.url));
      shop.work();
      await expect.poll(() => shop.isAtWork).toBe(true);
      await inflict({ proxy, vhost });
      await expectToRecover(shop, vhost);
    });
  }

  test("a process that lost its connections six times leaks no listener, socket or timer, and exits by itself after close", async ({
    vhost,
    cleanup,
  }) => {
    const proxy = cleanup(await startProxy(vhost.url));
    const main = join(import.meta.dirname, "../processes/shop.ts");
    const process = cleanup(await startProcess({ main, env: { AMQP_URL: proxy.url } }));
    for (let round = 0; round < 6; round++) {
      // Back on their feet, or still in the middle of it
      await sleep(round % 2 === 0 ? 1_500 : 100);
      proxy.cut(round % 3 === 0 ? "end" : "reset");
    }
    await expectToStand(vhost);
    process.write("settle\n");
    expect(await process.exited).toMatchObject({ code: 0, signal: null });
    const closed = process.lines.find(({ json }) => json?.["msg"] === "closed")?.json;
    expect(closed).toMatchObject({ left: [], warnings: [], unconfirmed: [], missing: 0 });
    expect(process.lines.filter(({ stream }) => stream === "stderr")).toEqual([]);
    await expect.poll(() => countsOf(vhost)).toEqual({ connections: 0, channels: 0, consumers: 0 });
  }, 90_000);
});

/** A subscriber whose connection can be cut, and how many acknowledgements it has sent. */
async function billingBehindProxy(vhost: VirtualHost, cleanup: Cleanup) {
  const proxy = cleanup(await startProxy(vhost.url));
  const till = cleanup(await connect(vhost.url, { system, service: "till" }));
  const billing = cleanup(await connect(proxy.url, { system, service: "billing" }));
  let acknowledged = 0;
  proxy.filter(({ method }) => {
    if (method === amqpMethods.basicAck) acknowledged++;
    return "pass";
  });
  return { proxy, till, billing, acknowledged: () => acknowledged };
}

test("a delivery whose connection is lost aborts its handler, is not acknowledged, and is redelivered (pitfalls 9, 56)", async ({
  vhost,
  cleanup,
}) => {
  const { proxy, till, billing, acknowledged } = await billingBehindProxy(vhost, cleanup);
  const { promise: gate, resolve: openGate } = Promise.withResolvers<void>();
  const deliveries: { orderId: string; delivery: Delivery }[] = [];
  await billing.subscribe(orderPlaced, async ({ orderId }, delivery) => {
    deliveries.push({ orderId, delivery });
    if (deliveries.length === 1) await gate;
  });
  await till.notify(orderPlaced, { orderId: "1", article: "lamp", pieces: 1 });
  await expect.poll(() => deliveries.length).toBe(1);
  proxy.cut();
  await expect.poll(() => deliveries[0]?.delivery.signal.aborted).toBe(true);
  await expect.poll(() => deliveries.length).toBe(2);
  // It ends only now, on a channel that is gone: its acknowledgement must hit nobody else's delivery
  openGate();
  await till.notify(orderPlaced, { orderId: "2", article: "lamp", pieces: 1 });
  await expect.poll(() => deliveries.map(({ orderId }) => orderId)).toEqual(["1", "1", "2"]);
  expect(deliveries.map(({ delivery }) => delivery.redelivered)).toEqual([false, true, false]);
  expect(deliveries.map(({ delivery }) => delivery.signal.aborted)).toEqual([true, false, false]);
  await expect.poll(acknowledged).toBeGreaterThanOrEqual(2);
  expect(acknowledged()).toBe(2);
  expect(billing.isReady).toBe(true);
});

test("a message that finishes first is acknowledged alone: an earlier one in flight is redelivered when the connection is lost (pitfall 85)", async ({
  vhost,
  cleanup,
}) => {
  const { proxy, till, billing, acknowledged } = await billingBehindProxy(vhost, cleanup);
  const begun: number[] = [];
  const lost = Promise.withResolvers<void>();
  await billing.subscribe(
    orderPlaced,
    async ({ pieces }, { signal }) => {
      begun.push(pieces);
      if (pieces > 1 || begun.length > 2) return;
      signal.addEventListener("abort", () => lost.resolve());
      await lost.promise;
    },
    { concurrency: 2 },
  );
  await till.notify(orderPlaced, { orderId: "1", article: "lamp", pieces: 1 });
  await till.notify(orderPlaced, { orderId: "2", article: "lamp", pieces: 2 });
  await expect.poll(acknowledged).toBe(1);
  const unacknowledged = async (): Promise<number | undefined> =>
    (await vhost.management.queue(vhost.name, "order.placed.billing"))?.messages_unacknowledged;
  await expect.poll(unacknowledged).toBe(1);
  proxy.cut();
  await lost.promise;
  await expect.poll(() => begun).toEqual([1, 2, 1]);
});

test("on a silently dead link each verb ends at its own time limit (pitfall 11)", async ({ vhost, cleanup }) => {
  const proxy = cleanup(await startProxy(vhost.url));
  const shop = cleanup(await Shop.open(proxy.url, { closeTimeoutMs: 500 }));
  await Promise.all([shop.broadcast(), shop.notify(), shop.request()]);
  const { market, till } = shop.sessions;
  proxy.freeze();
  const since = performance.now();
  const order = { orderId: "1", article: "lamp", pieces: 1 };
  await Promise.all([
    expect(till.notify(orderPlaced, order, { timeoutMs: 300 })).rejects.toMatchObject({
      code: "AMQP_KIT_PUBLISH",
      outcome: "unknown",
    }),
    expect(till.request(quote, { article: "lamp", pieces: 1 }, { timeoutMs: 300 })).rejects.toMatchObject({
      code: "AMQP_KIT_REQUEST_TIMEOUT",
      outcome: "unknown",
    }),
  ]);
  expect(performance.now() - since).toBeLessThan(1_500);
  // It has none: news that could not be written for a second is dropped
  await market.broadcast(prices, { article: "lamp", cents: 1 });
  expect(performance.now() - since).toBeLessThan(4_000);
  // Nobody has noticed anything yet, so nothing else made them end
  expect(shop.isReady).toBe(true);
});

test("while the broker still believes a dead link alive, a new process of the same service is ready immediately (pitfall 22)", async ({
  vhost,
  cleanup,
}) => {
  const open = async (url: string): Promise<Shop> => cleanup(await Shop.open(url, { closeTimeoutMs: 500 }));
  const proxy = cleanup(await startProxy(vhost.url));
  const dead = await open(proxy.url);
  await Promise.all([dead.broadcast(), dead.notify(), dead.request()]);
  proxy.freeze();
  const alive = await open(vhost.url);
  await alive.broadcast();
  await expect.poll(() => alive.heard).toHaveLength(1);
  // The broker hands every other request to the one that is dead
  await expect.poll(() => alive.request().then(() => "answered", String)).toBe("answered");
  expect(alive.isReady).toBe(true);
  await expect
    .poll(() => vhost.management.connections(vhost.name).then(({ length }) => length))
    .toBe(2 * standing.connections);
});

test("if one consumer's channel is lost, the other consumers of its process still get deliveries (pitfall 25)", async ({
  vhost,
  cleanup,
}) => {
  const both = defineSystem({
    market: { broadcasts: [prices] },
    till: { notifies: [orderPlaced] },
    desk: { listens: [prices], subscribes: [orderPlaced] },
  });
  const proxy = cleanup(await startProxy(vhost.url));
  const logger = recordingLogger();
  const desk = cleanup(await connect(proxy.url, { system: both, service: "desk", logger }));
  const till = cleanup(await connect(vhost.url, { system: both, service: "till" }));
  const market = cleanup(await connect(vhost.url, { system: both, service: "market" }));
  const { promise: gate, resolve: openGate } = Promise.withResolvers<void>();
  const deliveries: Delivery[] = [];
  const heard: number[] = [];
  await desk.listen(prices, ({ cents }) => heard.push(cents));
  await desk.subscribe(orderPlaced, async (_, delivery) => {
    deliveries.push(delivery);
    await gate;
  });
  const order = (messageId: string): Promise<void> =>
    till.notify(orderPlaced, { orderId: messageId, article: "lamp", pieces: 1 }, { messageId });
  await order("1");
  await expect.poll(() => deliveries.length).toBe(1);
  let isLost = false;
  proxy.filter(({ type }, direction) => {
    if (direction === "to-server" || type !== "header" || isLost) return "pass";
    isLost = true;
    return "drop";
  });
  await market.broadcast(prices, { article: "lamp", cents: 1 });
  await expect
    .poll(() => logger.lines)
    .toContainEqual(expect.objectContaining({ facts: expect.objectContaining({ consumer: "prices" }), level: "warn" }));
  await expect.poll(() => desk.isReady).toBe(true);
  openGate();
  await order("2");
  await expect.poll(() => deliveries.length).toBe(2);
  expect(deliveries.map(({ messageId }) => messageId)).toEqual(["1", "2"]);
  expect(deliveries.map(({ signal }) => signal.aborted)).toEqual([false, false]);
  await market.broadcast(prices, { article: "lamp", cents: 2 });
  await expect.poll(() => heard).toEqual([2]);
  expect(logger.lines.filter(({ message }) => message === "connection lost")).toEqual([]);
});

test("a sender whose link is cut while it waits for drain continues on the next connection (pitfall 35)", async ({
  vhost,
  cleanup,
}) => {
  using drops = countDrops("prices");
  const proxy = cleanup(await startProxy(vhost.url));
  const market = cleanup(await connect(proxy.url, { system, service: "market" }));
  const board = cleanup(await connect(vhost.url, { system, service: "board" }));
  const heard: number[] = [];
  await board.listen(prices, ({ cents }) => heard.push(cents));
  await market.broadcast(prices, { article: "lamp", cents: 1 });
  await expect.poll(() => heard).toEqual([1]);
  // Frozen once it knows that its exchange stands, it writes more than sockets and amqplib's buffer (2,048 pieces) hold
  proxy.filter(({ method }) => {
    if (method === amqpMethods.exchangeDeclareOk) proxy.freeze("to-server");
    return "pass";
  });
  const sizes = Array.from({ length: 1_000 }, (_, index) => (index < 10 ? 917_500 : 2_100));
  const stalled = (): number => drops.byReason()["stalled"] ?? 0;
  // Once they are written, the one behind them waits for the buffer to empty, until it is stale. On a busy machine all of them may be
  const stallsBehind = async (): Promise<number> => {
    proxy.thaw();
    const before = stalled();
    await Promise.all(sizes.map((size) => market.broadcast(prices, { article: "x".repeat(size), cents: 2 })));
    await market.broadcast(prices, { article: "lamp", cents: 3 });
    return stalled() - before;
  };
  await expect.poll(stallsBehind).toBe(1);
  proxy.filter(undefined);
  proxy.cut();
  proxy.thaw();
  await expect.poll(() => market.isReady).toBe(false);
  await expect.poll(() => market.isReady).toBe(true);
  await market.broadcast(prices, { article: "lamp", cents: 4 });
  await expect.poll(() => heard.at(-1)).toBe(4);
});

interface Addresses {
  urls: string[];
  /** That which is in use, and that which is not */
  inUse: () => [Proxy, Proxy];
}

async function twoAddresses({ url }: VirtualHost, cleanup: Cleanup): Promise<Addresses> {
  const one = cleanup(await startProxy(url));
  const other = cleanup(await startProxy(url));
  const inUse = (): [Proxy, Proxy] => (one.connections > 0 ? [one, other] : [other, one]);
  return { urls: [one.url, other.url], inUse };
}

/** As a node that is cut off from its cluster: it reads, and shows what it knows, but changes nothing. */
const takesNoBinding: FrameFilter = ({ method }) => (method === amqpMethods.queueBindOk ? "drop" : "pass");
const confirmsNothing: FrameFilter = ({ method }, direction) => {
  return method === amqpMethods.basicAck && direction === "to-client" ? "drop" : "pass";
};

describe("a node that stops answering is left for the next address", () => {
  /** Noticed within 5 s of the next look, which is due within 5 s */
  const soon = { timeout: 16_000 };

  test("by a consumer", { timeout: 60_000 }, async ({ vhost, cleanup }) => {
    const { urls, inUse } = await twoAddresses(vhost, cleanup);
    const billing = cleanup(await connect(urls, { system, service: "billing" }));
    await billing.subscribe(orderPlaced, () => undefined);
    const [left, next] = inUse();
    left.filter(takesNoBinding);
    await expect.poll(() => [left.connections, next.connections], soon).toEqual([0, 1]);
  });

  test("by a sender of broadcasts", { timeout: 60_000 }, async ({ vhost, cleanup }) => {
    const { urls, inUse } = await twoAddresses(vhost, cleanup);
    cleanup(await connect(urls, { system, service: "market" }));
    const [left, next] = inUse();
    left.filter(takesNoBinding);
    await expect.poll(() => [left.connections, next.connections], soon).toEqual([0, 1]);
  });

  test(
    "by a publisher, whose message is then confirmed at its next attempt",
    { timeout: 60_000 },
    async ({ vhost, cleanup }) => {
      const { urls, inUse } = await twoAddresses(vhost, cleanup);
      const store = defineSystem({ till: { notifies: [orderPlaced] }, billing: { subscribes: [orderPlaced] } });
      const till = cleanup(await connect(urls, { system: store, service: "till" }));
      const order = { orderId: "1", article: "lamp", pieces: 1 };
      await till.notify(orderPlaced, order);
      const [left, next] = inUse();
      left.filter(confirmsNothing);
      const failed = till.notify(orderPlaced, order, { messageId: "1", timeoutMs: 8_000 });
      await expect(failed).rejects.toMatchObject({ reason: "channel-lost", outcome: "unknown" });
      await till.notify(orderPlaced, order, { messageId: "1", timeoutMs: 8_000 });
      expect([left.connections, next.connections]).toEqual([0, 1]);
    },
  );

  test(
    "but not while other messages are confirmed, nor if there is only one address",
    { timeout: 60_000 },
    async ({ vhost, cleanup }) => {
      const proxy = cleanup(await startProxy(vhost.url));
      const market = cleanup(await connect(proxy.url, { system, service: "market" }));
      proxy.filter(takesNoBinding);
      const { urls, inUse } = await twoAddresses(vhost, cleanup);
      const store = defineSystem({ till: { notifies: [orderPlaced] }, billing: { subscribes: [orderPlaced] } });
      const till = cleanup(await connect(urls, { system: store, service: "till" }));
      const order = { orderId: "1", article: "lamp", pieces: 1 };
      await till.notify(orderPlaced, order);
      const [used] = inUse();
      let isLost = false;
      used.filter((frame, direction, link) => {
        if (isLost || confirmsNothing(frame, direction, link) === "pass") return "pass";
        isLost = true;
        return "drop";
      });
      const unconfirmed = till.notify(orderPlaced, order, { timeoutMs: 12_000 });
      const isOver = unconfirmed.then(
        () => "confirmed",
        () => "unconfirmed",
      );
      while ((await Promise.race([isOver, sleep(100)])) === undefined) await till.notify(orderPlaced, order);
      expect(await isOver).toBe("unconfirmed");
      expect([used.accepted, proxy.accepted, market.isReady]).toEqual([1, 1, true]);
    },
  );
});
