import { join } from "node:path";
import { createVirtualHost, startProcess, startProxy } from "@amqp-idioms/local-servers";
import { test } from "@amqp-idioms/local-servers/vitest";
import { describe, expect } from "vitest";
import { AmqpKitError, connect } from "../../src/index.ts";
import { orderPlaced, prices, quote, system } from "../contracts.ts";
import { countDrops } from "../recording.ts";
import { Shop } from "../shop.ts";
import { closeTimeoutMs, slackMs } from "../closing.ts";

/** @returns how each call of the shop's that was under way has ended */
async function closeInTime(
  shop: Shop,
): Promise<{ unconfirmed: string[]; outcomes: PromiseSettledResult<unknown>[]; ms: number }> {
  const underWay = Promise.allSettled([shop.broadcast(), shop.notify(), shop.notify(), shop.request()]);
  const since = performance.now();
  const unconfirmed = await shop.close();
  const outcomes = await underWay;
  return { unconfirmed, outcomes, ms: performance.now() - since };
}

function expectTyped(outcomes: PromiseSettledResult<unknown>[]): void {
  const reasons = outcomes.flatMap((outcome) => (outcome.status === "rejected" ? [outcome.reason] : []));
  expect(reasons.length).toBe(3);
  for (const reason of reasons) expect(reason).toBeInstanceOf(AmqpKitError);
}

test("20,000 broadcasts, then close: all are written (pitfall 32)", async ({ vhost, cleanup }) => {
  const board = cleanup(await connect(vhost.url, { system, service: "board" }));
  const heard: number[] = [];
  await board.listen(prices, ({ cents }) => heard.push(cents), { maxBuffered: 20_000 });
  const market = cleanup(await connect(vhost.url, { system, service: "market" }));
  using drops = countDrops("prices");
  for (let thousand = 0; thousand < 20; thousand++) {
    const said = Array.from({ length: 1_000 }, (_, index) =>
      market.broadcast(prices, { article: "lamp", cents: thousand * 1_000 + index }),
    );
    // The last ones are still on their way when it closes
    if (thousand < 19) await Promise.all(said);
  }
  expect(await market.close()).toEqual([]);
  expect(drops.byReason()).toEqual({});
  await expect.poll(() => heard.length).toBe(20_000);
  expect(heard).toEqual(Array.from({ length: 20_000 }, (_, index) => index));
});

describe("close ends in time, with all six verbs in use,", () => {
  test("on a frozen link, and reports what was not confirmed (pitfall 15)", async ({ vhost, cleanup }) => {
    const proxy = cleanup(await startProxy(vhost.url));
    const shop = cleanup(await Shop.open(proxy.url, { closeTimeoutMs }));
    await Promise.all([shop.broadcast(), shop.notify(), shop.request()]);
    proxy.freeze();
    const { unconfirmed, outcomes, ms } = await closeInTime(shop);
    expect(ms).toBeLessThan(closeTimeoutMs + slackMs);
    expect(unconfirmed.length).toBe(2);
    expectTyped(outcomes);
    // A proxy that forwards nothing does not look, either
    proxy.thaw();
    await expect.poll(() => proxy.connections).toBe(0);
  });

  test.for(["refused", "silent"] as const)(
    "while it reconnects, each attempt being %s, and reports what was not sent (pitfall 16)",
    async (how, { vhost, cleanup }) => {
      const proxy = cleanup(await startProxy(vhost.url));
      const shop = cleanup(await Shop.open(proxy.url, { closeTimeoutMs }));
      await Promise.all([shop.broadcast(), shop.notify(), shop.request()]);
      if (how === "refused") proxy.refuse();
      const { accepted } = proxy;
      proxy.cut();
      if (how === "silent") {
        proxy.freeze();
        await expect.poll(() => proxy.accepted).toBeGreaterThan(accepted);
      }
      await expect.poll(() => Object.values(shop.sessions).some(({ isReady }) => isReady)).toBe(false);
      const { unconfirmed, outcomes, ms } = await closeInTime(shop);
      expect(ms).toBeLessThan(closeTimeoutMs + slackMs);
      expect(unconfirmed.length).toBe(2);
      expectTyped(outcomes);
      proxy.thaw();
      await expect.poll(() => proxy.connections).toBe(0);
    },
  );

  test("while it reconnects: immediately, if nothing is in flight (pitfall 16)", async ({ vhost, cleanup }) => {
    const proxy = cleanup(await startProxy(vhost.url));
    const shop = cleanup(await Shop.open(proxy.url));
    proxy.refuse();
    proxy.cut();
    await expect.poll(() => Object.values(shop.sessions).some(({ isReady }) => isReady)).toBe(false);
    const since = performance.now();
    expect(await shop.close()).toEqual([]);
    expect(performance.now() - since).toBeLessThan(slackMs);
  });

  test("while the broker is blocked, and reports what was not confirmed (pitfall 17)", async ({
    ownBroker,
    cleanup,
  }) => {
    const vhost = await createVirtualHost(ownBroker);
    const shop = cleanup(await Shop.open(vhost.url, { closeTimeoutMs }));
    await Promise.all([shop.broadcast(), shop.notify(), shop.request()]);
    await ownBroker.raiseMemoryAlarm();
    const { unconfirmed, outcomes, ms } = await closeInTime(shop);
    expect(ms).toBeLessThan(closeTimeoutMs + slackMs);
    expect(unconfirmed.length).toBe(2);
    expectTyped(outcomes);
  });

  test("while consumers are being set up", async ({ vhost, cleanup }) => {
    const proxy = cleanup(await startProxy(vhost.url));
    const billing = cleanup(await connect(proxy.url, { system, service: "billing", closeTimeoutMs }));
    const board = cleanup(await connect(proxy.url, { system, service: "board", closeTimeoutMs }));
    const warehouse = cleanup(await connect(proxy.url, { system, service: "warehouse", closeTimeoutMs }));
    proxy.freeze("to-client");
    const starting = Promise.allSettled([
      billing.subscribe(orderPlaced, () => undefined),
      board.listen(prices, () => undefined),
      warehouse.respond(quote, () => ({ article: "lamp", cents: 1 })),
    ]);
    const since = performance.now();
    await Promise.all([billing.close(), board.close(), warehouse.close()]);
    for (const outcome of await starting)
      expect(outcome).toMatchObject({ status: "rejected", reason: { code: "AMQP_KIT_CLOSED" } });
    expect(performance.now() - since).toBeLessThan(closeTimeoutMs + slackMs);
  });
});

describe("a process", () => {
  const processes = join(import.meta.dirname, "../processes");

  test.for(["frozen", "refusing"] as const)(
    "that closes exits by itself even if the broker is %s (pitfalls 15, 16)",
    async (how, { vhost, cleanup }) => {
      const proxy = cleanup(await startProxy(vhost.url));
      const main = join(processes, "shop.ts");
      const process = cleanup(await startProcess({ main, env: { AMQP_URL: proxy.url } }));
      await expect.poll(() => vhost.management.consumers(vhost.name).then(({ length }) => length)).toBe(5);
      if (how === "frozen") {
        proxy.freeze();
      } else {
        proxy.refuse();
        proxy.cut();
      }
      const since = performance.now();
      process.write("close\n");
      expect(await process.exited).toMatchObject({ code: 0 });
      // The calls under way have 3 s, then close has its 5 s
      expect(performance.now() - since).toBeLessThan(10_000);
      const closed = process.lines.find(({ json }) => json?.["msg"] === "closed")?.json;
      expect(closed).toMatchObject({ left: [], warnings: [] });
      expect(process.lines.filter(({ stream }) => stream === "stderr")).toEqual([]);
    },
  );
});
