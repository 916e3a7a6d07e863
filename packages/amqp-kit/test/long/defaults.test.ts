import { amqpMethods, startProxy } from "@amqp-idioms/local-servers";
import { test } from "@amqp-idioms/local-servers/vitest";
import { expect } from "vitest";
import { connect } from "../../src/index.ts";
import { orderPlaced, prices, system } from "../contracts.ts";
import { countDrops } from "../recording.ts";
import { Shop } from "../shop.ts";

/** The design's defaults that are not a bound of one idiom: each at its bound. */

const tuneOk = "10.31";

test("notify waits 10 s for a confirm; after that the outcome is unknown (pitfall 11)", async ({ vhost, cleanup }) => {
  const proxy = cleanup(await startProxy(vhost.url));
  const till = cleanup(await connect(proxy.url, { system, service: "till" }));
  const held: string[] = [];
  proxy.filter((frame, direction) => {
    if (direction === "to-server" || frame.method !== amqpMethods.basicAck) return "pass";
    held.push(frame.method);
    return "hold";
  });
  const since = performance.now();
  await expect(till.notify(orderPlaced, { orderId: "1", article: "lamp", pieces: 1 })).rejects.toMatchObject({
    code: "AMQP_KIT_PUBLISH",
    reason: "timeout",
    outcome: "unknown",
    retryable: true,
    message: expect.stringMatching(/was not confirmed within 10000 ms\. The broker may have it/),
  });
  expect(performance.now() - since).toBeGreaterThan(9_990);
  expect(performance.now() - since).toBeLessThan(11_000);
  expect(held).toEqual([amqpMethods.basicAck]);
  proxy.filter(undefined);
  proxy.release();
});

test("at most 16 MiB are unconfirmed: what does not fit waits unsent within its own time limit, and is sent when there is room (pitfall 36)", async ({
  vhost,
  cleanup,
}) => {
  const proxy = cleanup(await startProxy(vhost.url));
  const till = cleanup(await connect(proxy.url, { system, service: "till" }));
  let published = 0;
  proxy.filter((frame, direction) => {
    if (frame.method === amqpMethods.basicPublish) published++;
    return direction === "to-client" && frame.method === amqpMethods.basicAck ? "hold" : "pass";
  });
  const notify = (orderId: string, timeoutMs: number): Promise<void> =>
    till.notify(orderPlaced, { orderId, article: "x".repeat(1_000_000), pieces: 1 }, { timeoutMs });
  const fitting = Array.from({ length: 16 }, (_, index) => notify(String(index), 30_000));
  await expect(notify("one too many", 500)).rejects.toMatchObject({
    code: "AMQP_KIT_CONNECTION",
    outcome: "not-executed",
    retryable: true,
    message: expect.stringMatching(/^Nothing was sent within 500 ms: 16 messages wait for the broker's confirm/),
  });
  const waiting = notify("one that waits", 30_000);
  await expect.poll(() => published).toBe(16);
  proxy.filter((frame) => {
    if (frame.method === amqpMethods.basicPublish) published++;
    return "pass";
  });
  proxy.release();
  await Promise.all([...fitting, waiting]);
  expect(published).toBe(17);
});

test("a subscriber handles one message at a time, a responder ten, and a listener has no prefetch limit (pitfall 53)", async ({
  vhost,
  cleanup,
}) => {
  const shop = cleanup(await Shop.open(vhost.url));
  // A subscriber begins with one, and takes more after its first message if it may
  await Promise.all([shop.request(), shop.notify()]);
  await expect.poll(() => [shop.billed.size, shop.shipped.size]).toEqual([1, 1]);
  const prefetches = async (): Promise<Record<string, number>> => {
    const consumers = Map.groupBy(await vhost.management.consumers(vhost.name), ({ queue }) => queue.name);
    return Object.fromEntries(
      [...consumers].map(([queue, all]) => [queue, all.reduce((sum, { prefetch_count }) => sum + prefetch_count, 0)]),
    );
  };
  await expect.poll(() => prefetches().then((all) => Object.keys(all).length)).toBe(5);
  expect(await prefetches()).toMatchObject({ "order.placed.billing": 1, "order.placed.shipping": 1, quote: 10 });
  const others = Object.entries(await prefetches()).filter(([queue]) => queue.startsWith("amq.gen-"));
  expect(others.map(([, prefetch]) => prefetch)).toEqual([0, 0]);
});

test("a listener keeps 1,000 updates for a slow handler; one more drops the oldest", async ({ vhost, cleanup }) => {
  const market = cleanup(await connect(vhost.url, { system, service: "market" }));
  const board = cleanup(await connect(vhost.url, { system, service: "board" }));
  const drops = cleanup(countDrops("prices"));
  const gate = Promise.withResolvers<void>();
  const heard: number[] = [];
  await board.listen(prices, async ({ cents }) => {
    heard.push(cents);
    await gate.promise;
  });
  const tell = (cents: number): Promise<void> => market.broadcast(prices, { article: "lamp", cents });
  await tell(0);
  await expect.poll(() => heard).toEqual([0]);
  for (let cents = 1; cents <= 1_001; cents++) await tell(cents);
  await expect.poll(() => drops.byReason()).toEqual({ "buffer-full": 1 });
  gate.resolve();
  await expect.poll(() => heard.at(-1)).toBe(1_001);
  expect(heard.slice(0, 3)).toEqual([0, 2, 3]);
  expect(heard).toHaveLength(1_001);
});

test("close takes 5 s at most even on a dead link", async ({ vhost, cleanup }) => {
  const proxy = cleanup(await startProxy(vhost.url));
  const till = await connect(proxy.url, { system, service: "till" });
  proxy.freeze();
  const notifying = till.notify(orderPlaced, { orderId: "1", article: "lamp", pieces: 1 }, { messageId: "lost" });
  notifying.catch(() => undefined);
  const since = performance.now();
  expect(await till.close()).toEqual(["lost"]);
  expect(performance.now() - since).toBeGreaterThan(4_000);
  expect(performance.now() - since).toBeLessThan(6_000);
});

test("the heartbeat is what the broker offers, or what the URL asks for (pitfall 10)", async ({ vhost, cleanup }) => {
  const proxy = cleanup(await startProxy(vhost.url));
  const seconds: Record<string, number[]> = { offered: [], taken: [] };
  proxy.filter((frame) => {
    // Both end in channel-max, frame-max and heartbeat (specification 1.4.2.5, 1.4.2.6)
    if (frame.method === amqpMethods.connectionTune) seconds["offered"]?.push(frame.payload.readUInt16BE(10));
    if (frame.method === tuneOk) seconds["taken"]?.push(frame.payload.readUInt16BE(10));
    return "pass";
  });
  cleanup(await connect(proxy.url, { system, service: "market" }));
  cleanup(await connect(`${proxy.url}?heartbeat=5`, { system, service: "market" }));
  expect(seconds).toEqual({ offered: [60, 60], taken: [60, 5] });
});

test("nothing waits for Nagle's algorithm: a request, and a confirmed message of 4 KiB, take a few milliseconds (pitfall 12a)", async ({
  vhost,
  cleanup,
}) => {
  const shop = cleanup(await Shop.open(vhost.url));
  const { till } = shop.sessions;
  const notify = (): Promise<void> => till.notify(orderPlaced, { orderId: "1", article: "x".repeat(4_096), pieces: 1 });
  // With it each takes 40 ms and more; the bound leaves room for a busy machine
  for (const call of [() => shop.request(), notify]) expect(await medianMs(call)).toBeLessThan(25);
});

async function medianMs(call: () => Promise<void>): Promise<number> {
  const times: number[] = [];
  for (let round = 0; round < 51; round++) {
    const since = performance.now();
    await call();
    times.push(performance.now() - since);
  }
  return times.toSorted((one, other) => one - other)[25] ?? Infinity;
}
