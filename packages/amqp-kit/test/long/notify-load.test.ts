import { test } from "@amqp-idioms/local-servers/vitest";
import { describe, expect } from "vitest";
import { connect } from "../../src/index.ts";
import { orderPlaced, system } from "../contracts.ts";
import { order, numbers, setAside } from "../notifying.ts";

describe("notify, to a subscriber", () => {
  test("retried messages survive 10 rounds, and a handler that succeeds in the end stops the retries (pitfall 91)", async ({
    vhost,
    cleanup,
  }) => {
    const till = cleanup(await connect(vhost.url, { system, service: "till" }));
    const billing = cleanup(await connect(vhost.url, { system, service: "billing" }));
    const attempts: number[] = [];
    await billing.subscribe(
      orderPlaced,
      (_, { attempt }) => {
        attempts.push(attempt);
        if (attempt <= 10) throw new Error("not yet");
      },
      { retryDelaysMs: Array.from({ length: 10 }, () => 20) },
    );
    await till.notify(orderPlaced, order(1));
    await expect.poll(() => attempts).toEqual(numbers(1, 11));
    await till.notify(orderPlaced, order(2));
    await expect.poll(() => attempts.length).toBeGreaterThan(11);
    expect(await setAside(vhost, "billing")).toEqual([]);
  });

  test("receiver too slow: the queue grows, the notifier is not held back, and all of it is handled in order (pitfall 53)", async ({
    vhost,
    cleanup,
  }) => {
    const till = cleanup(await connect(vhost.url, { system, service: "till" }));
    const billing = cleanup(await connect(vhost.url, { system, service: "billing" }));
    const gate = Promise.withResolvers<void>();
    const handled: number[] = [];
    await billing.subscribe(orderPlaced, async ({ pieces }) => {
      await gate.promise;
      handled.push(pieces);
    });
    await Promise.all(numbers(1, 2_500).map((pieces) => till.notify(orderPlaced, order(pieces))));
    await expect
      .poll(() => vhost.management.queue(vhost.name, "order.placed.billing"))
      .toMatchObject({ messages: 2_500, messages_unacknowledged: 1 });
    gate.resolve();
    await expect.poll(() => handled.length).toBe(2_500);
    expect(handled).toEqual(numbers(1, 2_500));
  });

  test("a subscriber's queue that is deleted under load is declared, bound and consumed again within 5 s (pitfalls 38, 49)", async ({
    vhost,
    cleanup,
  }) => {
    const till = cleanup(await connect(vhost.url, { system, service: "till" }));
    const billing = cleanup(await connect(vhost.url, { system, service: "billing" }));
    const shipping = cleanup(await connect(vhost.url, { system, service: "shipping" }));
    const heard = { billing: new Set<number>(), shipping: new Set<number>() };
    await billing.subscribe(orderPlaced, ({ pieces }) => heard.billing.add(pieces));
    const subscribing = await shipping.subscribe(orderPlaced, ({ pieces }) => heard.shipping.add(pieces));
    let last = 0;
    const tell = (): Promise<void> => till.notify(orderPlaced, order(++last));
    for (const consumer of ["there", "away"]) {
      if (consumer === "away") await subscribing.stop();
      for (let some = 0; some < 20; some++) await tell();
      await vhost.management.deleteQueue(vhost.name, "order.placed.shipping");
      const deletedAt = performance.now();
      const bindings = async (): Promise<unknown> =>
        (await vhost.management.bindings(vhost.name)).filter(
          ({ source, destination }) => source === "order.placed" && destination === "order.placed.shipping",
        );
      await expect.poll(async () => (await tell(), bindings()), { timeout: 6_000 }).toHaveLength(1);
      expect(performance.now() - deletedAt).toBeLessThan(6_000);
      const marker = ++last;
      await till.notify(orderPlaced, order(marker));
      if (consumer === "away") await shipping.subscribe(orderPlaced, ({ pieces }) => heard.shipping.add(pieces));
      await expect.poll(() => heard.shipping).toContain(marker);
    }
    await expect.poll(() => [...heard.billing]).toEqual(numbers(1, last));
  });

  test("the failure exchange and queues deleted under load are declared again, and no failed message is lost (pitfalls 88, 89)", async ({
    vhost,
    cleanup,
  }) => {
    const till = cleanup(await connect(vhost.url, { system, service: "till" }));
    const billing = cleanup(await connect(vhost.url, { system, service: "billing" }));
    await billing.subscribe(orderPlaced, () => Promise.reject(new Error("always")), { retryDelaysMs: [] });
    await till.notify(orderPlaced, order(1));
    await expect.poll(() => setAside(vhost, "billing")).toHaveLength(1);
    await vhost.management.deleteQueue(vhost.name, "order.placed.billing.dead");
    await till.notify(orderPlaced, order(2));
    await vhost.management.deleteExchange(vhost.name, "order.placed.billing.failed");
    await till.notify(orderPlaced, order(3));
    const dead = async (): Promise<unknown> =>
      (await setAside(vhost, "billing")).map(({ payload }) => JSON.parse(payload).pieces);
    await expect.poll(dead, { interval: 200 }).toEqual([2, 3]);
  });

  test("a subscriber without the notifier's exchange is connected but not ready, and bound within 5 s of its declaration (pitfall 24)", async ({
    vhost,
    cleanup,
  }) => {
    const billing = cleanup(await connect(vhost.url, { system, service: "billing" }));
    const heard: number[] = [];
    await billing.subscribe(orderPlaced, ({ pieces }) => heard.push(pieces));
    expect(billing.isReady).toBe(false);
    await vhost.management.declareExchange(vhost.name, "order.placed", { type: "fanout" });
    const before = performance.now();
    await expect.poll(() => billing.isReady).toBe(true);
    expect(performance.now() - before).toBeLessThan(6_000);
    await vhost.management.publish(vhost.name, { exchange: "order.placed", body: JSON.stringify(order(1)) });
    await expect.poll(() => heard).toEqual([1]);
  });

  test("a subscriber that may not declare its deleted queue again is not ready until it may (pitfalls 50, 115)", async ({
    vhost,
    cleanup,
  }) => {
    const till = cleanup(await connect(vhost.url, { system, service: "till" }));
    const user = `user-${vhost.name}`;
    const all = { vhost: vhost.name, configure: ".*", write: ".*", read: ".*" };
    await vhost.management.createUser(user, "secret", all);
    cleanup(() => vhost.management.deleteUser(user));
    const url = new URL(vhost.url);
    url.username = user;
    url.password = "secret";
    const billing = cleanup(await connect(url.href, { system, service: "billing" }));
    const heard: number[] = [];
    await billing.subscribe(orderPlaced, ({ pieces }) => heard.push(pieces));
    expect(billing.isReady).toBe(true);
    // Nor may it read it: the notifier would have it back in 5 s
    await vhost.management.grant(user, { ...all, configure: "^$", read: "^$" });
    await vhost.management.deleteQueue(vhost.name, "order.placed.billing");
    await expect.poll(() => billing.isReady).toBe(false);
    await vhost.management.grant(user, all);
    await expect.poll(() => billing.isReady, { timeout: 20_000 }).toBe(true);
    await till.notify(orderPlaced, order(1));
    await expect.poll(() => heard).toEqual([1]);
  });
});
