import { setTimeout as sleep } from "node:timers/promises";
import { join } from "node:path";
import { startProcess, startProxy } from "@amqp-idioms/local-servers";
import type { Proxy, VirtualHost } from "@amqp-idioms/local-servers";
import { test } from "@amqp-idioms/local-servers/vitest";
import { describe, expect } from "vitest";
import { connect } from "../../src/index.ts";
import type { Delivery } from "../../src/index.ts";
import { orderPlaced, system } from "../contracts.ts";
import { recordEvents } from "../recording.ts";
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
    const promise = `${name}: afterwards every verb works again by itself, and nothing confirmed is lost`;
    test(promise, { timeout: 120_000 }, async ({ vhost, cleanup }) => {
      const proxy = cleanup(await startProxy(`${vhost.url}?heartbeat=${heartbeatSeconds}`));
      const shop = cleanup(await Shop.open(proxy.url));
      shop.work();
      await expect.poll(() => shop.isAtWork).toBe(true);
      await inflict({ proxy, vhost });
      await expectToRecover(shop, vhost);
    });
  }

  test("a process cut off half a dozen times has no listener, socket or timer too many, and ends by itself when it has closed", async ({
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

test("a delivery whose connection is lost aborts its handler, is not acknowledged, and is handed out again", async ({
  vhost,
  cleanup,
}) => {
  const proxy = cleanup(await startProxy(vhost.url));
  const till = cleanup(await connect(vhost.url, { system, service: "till" }));
  const billing = cleanup(await connect(proxy.url, { system, service: "billing" }));
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
  expect(billing.isReady).toBe(true);
});
