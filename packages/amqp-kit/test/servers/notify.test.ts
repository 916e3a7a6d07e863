import { setTimeout as sleep } from "node:timers/promises";
import { createVirtualHost } from "@amqp-idioms/local-servers";
import { type Cleanup, test } from "@amqp-idioms/local-servers/vitest";
import { describe, expect } from "vitest";
import { connect } from "../../src/index.ts";
import { type Order, orderPlaced, system } from "../contracts.ts";
import { bareNotifier } from "../peers/bare-notify.ts";
import { type OnPieces, subscribers, order, numbers, setAside } from "../notifying.ts";

/** Both roles, by the kit and by a stranger who knows only the wire table. */
const notifiers = {
  kit: async (url: string, cleanup: Cleanup) => {
    const till = cleanup(await connect(url, { system, service: "till" }));
    return (order: Order) => till.notify(orderPlaced, order);
  },
  bare: async (url: string, cleanup: Cleanup) => {
    const notifier = cleanup(await bareNotifier(url, "order.placed", ["billing", "shipping"]));
    return (order: Order) => notifier.notify(JSON.stringify(order));
  },
};

const pairs = [
  { notifier: "kit", subscriber: "kit" },
  { notifier: "kit", subscriber: "bare" },
  { notifier: "bare", subscriber: "kit" },
] as const;

describe.for(pairs)("notify, from $notifier to $subscriber", (pair) => {
  test("at least once: each of two subscribers gets every message, in order (pitfall 60)", async ({
    vhost,
    cleanup,
  }) => {
    const heard = { billing: [] as number[], shipping: [] as number[] };
    const notify = await notifiers[pair.notifier](vhost.url, cleanup);
    for (const service of ["billing", "shipping"] as const) {
      const onPieces: OnPieces = async (pieces) => {
        // Two at a time, the second would be through first
        await sleep(pieces % 2 === 1 ? 5 : 0);
        heard[service].push(pieces);
      };
      cleanup(await subscribers[pair.subscriber](vhost.url, service, onPieces));
    }
    await Promise.all(numbers(1, 200).map((pieces) => notify(order(pieces))));
    await expect.poll(() => heard).toEqual({ billing: numbers(1, 200), shipping: numbers(1, 200) });
  });

  test("no receiver: kept, since every subscriber has its queue before its first run (pitfall 28)", async ({
    vhost,
    cleanup,
  }) => {
    const notify = await notifiers[pair.notifier](vhost.url, cleanup);
    for (const pieces of numbers(1, 20)) await notify(order(pieces));
    const heard = { billing: [] as number[], shipping: [] as number[] };
    for (const service of ["billing", "shipping"] as const) {
      cleanup(await subscribers[pair.subscriber](vhost.url, service, (pieces) => heard[service].push(pieces)));
    }
    await expect.poll(() => heard).toEqual({ billing: numbers(1, 20), shipping: numbers(1, 20) });
  });

  test("receiver is down: everything waits, in order", async ({ vhost, cleanup }) => {
    const notify = await notifiers[pair.notifier](vhost.url, cleanup);
    const heard: number[] = [];
    const leave = await subscribers[pair.subscriber](vhost.url, "billing", (pieces) => heard.push(pieces));
    await notify(order(1));
    await expect.poll(() => heard).toEqual([1]);
    await leave();
    for (const pieces of numbers(2, 50)) await notify(order(pieces));
    cleanup(await subscribers[pair.subscriber](vhost.url, "billing", (pieces) => heard.push(pieces)));
    await expect.poll(() => heard).toEqual(numbers(1, 50));
  });
});

describe.for(["classic", "quorum"] as const)("notify, where the default queue type is %s", (defaultQueueType) => {
  test("the promises are the same: kept, in order, retried, dead-lettered (pitfalls 27, 62)", async ({
    broker,
    cleanup,
  }) => {
    const vhost = cleanup(await createVirtualHost(broker, { defaultQueueType }));
    const till = cleanup(await connect(vhost.url, { system, service: "till" }));
    for (const pieces of numbers(1, 20)) await till.notify(orderPlaced, order(pieces));
    const billing = cleanup(await connect(vhost.url, { system, service: "billing" }));
    const heard: number[] = [];
    const subscribing = await billing.subscribe(
      orderPlaced,
      ({ pieces }) => {
        heard.push(pieces);
        if (pieces === 20) throw new Error("out of paper");
      },
      { retryDelaysMs: [50] },
    );
    await expect.poll(() => heard).toEqual([...numbers(1, 20), 20]);
    await expect.poll(() => setAside(vhost, "billing")).toHaveLength(1);
    for (const name of ["order.placed.billing", "order.placed.billing.dead"]) {
      expect(await vhost.management.queue(vhost.name, name)).toMatchObject({ type: defaultQueueType, durable: true });
    }
    // Cancelling a quorum queue's consumer closed connections once (amqp-node/amqplib#641)
    await subscribing.stop();
    await billing.subscribe(orderPlaced, ({ pieces }) => heard.push(pieces));
    await till.notify(orderPlaced, order(21));
    await expect.poll(() => heard.at(-1)).toBe(21);
  });
});
