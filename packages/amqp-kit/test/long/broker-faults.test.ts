import { setTimeout as sleep } from "node:timers/promises";
import { createVirtualHost } from "@amqp-idioms/local-servers";
import type { RabbitMq } from "@amqp-idioms/local-servers";
import { test } from "@amqp-idioms/local-servers/vitest";
import { describe, expect } from "vitest";
import { connect, defineSystem, notification } from "../../src/index.ts";
import { Order, orderPlaced } from "../contracts.ts";
import { countDrops, recordingLogger } from "../recording.ts";
import { Shop } from "../shop.ts";
import { expectToRecover } from "../shop-recovery.ts";

/** How long the broker is away in the faults that end by themselves. */
const awayMs = 3_000;

const faults: Record<string, (broker: RabbitMq) => Promise<unknown>> = {
  "the broker restarted": (broker) => broker.restart(),
  "the broker killed with -9 and started": async (broker) => {
    await broker.kill();
    await broker.start();
  },
  "the broker frozen for a while": async (broker) => {
    await broker.freeze();
    await sleep(awayMs);
    await broker.thaw();
  },
  "the broker's memory alarm raised and cleared": async (broker) => {
    using drops = countDrops("prices");
    await broker.raiseMemoryAlarm();
    await expect.poll(() => drops.byReason()["blocked"]).toBeGreaterThan(10);
    await sleep(awayMs);
    await broker.clearMemoryAlarm();
  },
};

const order = (orderId: string): Order => ({ orderId, article: "lamp", pieces: 1 });

describe("with all six verbs in use", () => {
  for (const [name, inflict] of Object.entries(faults)) {
    const promise = `${name}: afterwards every verb works again by itself, and nothing confirmed is lost (pitfall 3)`;
    test(promise, { timeout: 180_000 }, async ({ ownBroker, cleanup }) => {
      const vhost = await createVirtualHost(ownBroker);
      const shop = cleanup(await Shop.open(vhost.url));
      shop.work();
      await expect.poll(() => shop.isAtWork).toBe(true);
      await inflict(ownBroker);
      await expectToRecover(shop, vhost);
    });
  }
});

test("while the broker's memory alarm blocks publishers, notify rejects at its time limit, consumers continue, and the log shows when it began and ended (pitfall 42)", async ({
  ownBroker,
  cleanup,
}) => {
  const vhost = await createVirtualHost(ownBroker);
  const logger = recordingLogger();
  const said = (): string[] => logger.lines.map(({ message }) => message);
  const shop = cleanup(await Shop.open(vhost.url, { logger }));
  await shop.notify();
  await ownBroker.raiseMemoryAlarm();
  const since = performance.now();
  await expect(shop.notify()).rejects.toMatchObject({
    code: "AMQP_KIT_PUBLISH",
    reason: "timeout",
    outcome: "unknown",
    retryable: true,
  });
  expect(performance.now() - since).toBeLessThan(4_000);
  expect(said()).toContain("broker blocked: memory or disk alarm");
  await vhost.management.publish(vhost.name, {
    exchange: "",
    routingKey: "order.placed.billing",
    body: JSON.stringify({ orderId: "by hand", article: "lamp", pieces: 1 }),
    properties: { content_type: "application/json" },
  });
  await expect.poll(() => shop.billed.has("by hand")).toBe(true);
  await ownBroker.clearMemoryAlarm();
  await shop.notify();
  await expect.poll(said).toContain("broker unblocked");
});

test("while the broker blocks publishers, a service that also publishes still acknowledges what it consumes (pitfall 42)", async ({
  ownBroker,
  cleanup,
}) => {
  const orderBilled = notification("order.billed", { message: Order });
  const office = defineSystem({
    billing: { subscribes: [orderPlaced], notifies: [orderBilled] },
    ledger: { subscribes: [orderBilled] },
  });
  const vhost = await createVirtualHost(ownBroker);
  const billing = cleanup(await connect(vhost.url, { system: office, service: "billing", closeTimeoutMs: 1_000 }));
  const billed: string[] = [];
  await billing.subscribe(orderPlaced, ({ orderId }) => billed.push(orderId));
  await ownBroker.raiseMemoryAlarm();
  // A connection is blocked from its next publish on
  await expect(billing.notify(orderBilled, order("0"), { timeoutMs: 500 })).rejects.toMatchObject({
    reason: "timeout",
  });
  for (const orderId of ["1", "2", "3"]) {
    await vhost.management.publish(vhost.name, {
      exchange: "",
      routingKey: "order.placed.billing",
      body: JSON.stringify(order(orderId)),
      properties: { content_type: "application/json" },
    });
  }
  // It takes one at a time: the next one comes when the broker has its acknowledgement
  await expect.poll(() => billed).toEqual(["1", "2", "3"]);
  await ownBroker.clearMemoryAlarm();
});
