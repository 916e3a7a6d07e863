import { createVirtualHost, startProxy } from "@amqp-idioms/local-servers";
import type { VirtualHost } from "@amqp-idioms/local-servers";
import { type Cleanup, test } from "@amqp-idioms/local-servers/vitest";
import { describe, expect } from "vitest";
import { connectWith } from "../../src/connect.ts";
import { connect } from "../../src/index.ts";
import type { Logger } from "../../src/index.ts";
import { orderPlaced, system } from "../contracts.ts";
import { billingQueue, numbers, order } from "../orders.ts";
import { recordEvents, recordingLogger } from "../recording.ts";
import { Shelf, state } from "../paused-subscription.ts";

/** Handlers that work on an order until they are to finish. */
class Work {
  readonly handled: number[] = [];
  now = 0;
  most = 0;
  readonly #finished = new Map(numbers(1, 25).map((pieces) => [pieces, Promise.withResolvers<void>()]));

  async on(pieces: number): Promise<void> {
    this.now++;
    this.most = Math.max(this.most, this.now);
    await this.#finished.get(pieces)?.promise;
    this.now--;
  }

  finish(...all: number[]): void {
    for (const pieces of all) this.#finished.get(pieces)?.resolve();
  }
}

/** Of five in hand one has failed, which began a pause, and is handled now that it is over. The other four go on, and 20 have come. */
async function goOnWithFourInHand(vhost: VirtualHost, cleanup: Cleanup, logger: Logger) {
  const shelf = new Shelf();
  const work = new Work();
  const till = cleanup(await connect(vhost.url, { system, service: "till" }));
  const billing = cleanup(await connect(vhost.url, { system, service: "billing", logger }));
  const subscribing = await billing.subscribe(
    orderPlaced,
    async ({ pieces }) => {
      await work.on(pieces);
      shelf.use();
      work.handled.push(pieces);
    },
    { concurrency: 5, isAvailable: shelf.isAvailable },
  );
  const pause = async (failing: number): Promise<void> => {
    shelf.isThere = false;
    work.finish(failing);
    await expect.poll(() => billing.isReady).toBe(false);
  };
  const goOn = async (): Promise<void> => {
    shelf.isThere = true;
    await expect.poll(() => billing.isReady).toBe(true);
  };
  for (const pieces of numbers(1, 5)) await till.notify(orderPlaced, order(pieces));
  await expect.poll(() => work.now).toBe(5);
  await pause(1);
  await goOn();
  await expect.poll(() => work.handled).toEqual([1]);
  for (const pieces of numbers(6, 25)) await till.notify(orderPlaced, order(pieces));
  const ready = async (): Promise<unknown> => (await vhost.management.queue(vhost.name, billingQueue))?.messages_ready;
  await expect.poll(ready).toBeLessThan(20);
  return { work, subscribing, pause, goOn };
}

describe("while what the handler needs is not available", () => {
  test("all messages in flight are requeued, including one whose handler fails only after the outage", async ({
    vhost,
    cleanup,
  }) => {
    using paused = recordEvents("paused");
    const shelf = new Shelf();
    const till = cleanup(await connect(vhost.url, { system, service: "till" }));
    const billing = cleanup(await connect(vhost.url, { system, service: "billing" }));
    const attempts: [number, number][] = [];
    const slow = Promise.withResolvers<never>();
    const effects = new Set<number>();
    let isSlow = true;
    await billing.subscribe(
      orderPlaced,
      async ({ pieces }, { attempt }) => {
        attempts.push([pieces, attempt]);
        if (pieces === 3 && isSlow) await slow.promise;
        if (effects.size === 0 && attempts.length < 5) await expect.poll(() => attempts.length).toBe(5);
        shelf.use();
        effects.add(pieces);
      },
      { concurrency: 5, isAvailable: shelf.isAvailable },
    );
    shelf.isThere = false;
    await Promise.all(numbers(1, 5).map((pieces) => till.notify(orderPlaced, order(pieces))));
    await expect.poll(() => state(vhost)).toMatchObject({ messages_ready: 4, messages_unacknowledged: 1 });
    shelf.isThere = true;
    await expect.poll(() => effects).toEqual(new Set([1, 2, 4, 5]));
    isSlow = false;
    slow.reject(new Error("no shelf, half an hour ago"));
    await expect.poll(() => effects).toEqual(new Set([1, 2, 3, 4, 5]));
    expect(attempts.filter(([, attempt]) => attempt !== 1)).toEqual([]);
    expect(paused.all).toHaveLength(1);
  });

  for (const defaultQueueType of ["classic", "quorum"] as const) {
    test(`messages in flight during the pause still count after it: never more than the concurrency, on a ${defaultQueueType} queue (pitfall 53a)`, async ({
      broker,
      cleanup,
    }) => {
      const vhost = cleanup(await createVirtualHost(broker, { defaultQueueType }));
      const logger = recordingLogger();
      const { work, pause, goOn } = await goOnWithFourInHand(vhost, cleanup, logger);
      expect(work.now).toBe(5);
      await pause(6);
      // Those behind the five, too, went back
      await expect.poll(() => state(vhost)).toMatchObject({ messages_ready: 20, messages_unacknowledged: 4 });
      await goOn();
      work.finish(2, 3, 4, 5);
      await expect.poll(() => state(vhost)).toMatchObject({ messages_unacknowledged: 5 });
      await expect.poll(() => work.now).toBe(5);
      work.finish(...numbers(7, 25));
      await expect.poll(() => work.handled).toHaveLength(25);
      expect(new Set(work.handled)).toEqual(new Set(numbers(1, 25)));
      expect(work.most).toBe(5);
      const said = logger.lines.map(({ message }) => message);
      expect(said.filter((line) => /^(connection|consumer) lost/.test(line))).toEqual([]);
    });
  }

  test("stopped during the pause, it immediately requeues what it has not begun", async ({ vhost, cleanup }) => {
    const { work, subscribing } = await goOnWithFourInHand(vhost, cleanup, recordingLogger());
    const stopped = subscribing.stop();
    await expect.poll(() => state(vhost)).toMatchObject({ messages_ready: 19, messages_unacknowledged: 5 });
    work.finish(...numbers(2, 25));
    await stopped;
    expect(work.handled.toSorted((a, b) => a - b)).toEqual(numbers(1, 6));
    await expect.poll(() => state(vhost)).toMatchObject({ messages_ready: 19, messages_unacknowledged: 0 });
  });

  test("no answer in time means no, and close ends the pause", async ({ vhost, cleanup }) => {
    using paused = recordEvents("paused");
    using resumed = recordEvents("resumed");
    const till = cleanup(await connect(vhost.url, { system, service: "till" }));
    const billing = cleanup(
      await connectWith({ availabilityTimeoutMs: 500 }, vhost.url, { system, service: "billing" }),
    );
    const never = Promise.withResolvers<boolean>();
    const failed = Promise.withResolvers<number>();
    await billing.subscribe(
      orderPlaced,
      () => {
        failed.resolve(performance.now());
        throw new Error("out of paper");
      },
      { isAvailable: () => never.promise },
    );
    await till.notify(orderPlaced, order(1));
    const failedAt = await failed.promise;
    await expect.poll(() => paused.all).toHaveLength(1);
    expect(performance.now() - failedAt).toBeGreaterThanOrEqual(499);
    const since = performance.now();
    await billing.close();
    expect(performance.now() - since).toBeLessThan(3_000);
    expect(resumed.all).toEqual([]);
    await expect.poll(() => state(vhost)).toMatchObject({ messages_ready: 1, messages_unacknowledged: 0 });
  });

  test("it stays paused when its connection is lost meanwhile, and when its queue is deleted", async ({
    vhost,
    cleanup,
  }) => {
    using paused = recordEvents("paused");
    const shelf = new Shelf();
    const till = cleanup(await connect(vhost.url, { system, service: "till" }));
    const proxy = cleanup(await startProxy(vhost.url));
    const logger = recordingLogger();
    const billing = cleanup(await connect(proxy.url, { system, service: "billing", logger }));
    const begun: number[] = [];
    await billing.subscribe(
      orderPlaced,
      ({ pieces }) => {
        begun.push(pieces);
        shelf.use();
      },
      { isAvailable: shelf.isAvailable },
    );
    shelf.isThere = false;
    await till.notify(orderPlaced, order(1));
    await expect.poll(() => paused.all).toHaveLength(1);
    await expect.poll(() => state(vhost)).toMatchObject({ messages_ready: 1 });
    proxy.cut();
    const connected = (): number => logger.lines.filter(({ message }) => message === "connected").length;
    await expect.poll(connected).toBeGreaterThan(1);
    const askedBefore = shelf.asked.length;
    await expect.poll(() => shelf.asked.length).toBeGreaterThan(askedBefore + 1);
    expect(begun).toEqual([1]);
    // The notifier has it back, and the subscriber finds it there
    await vhost.management.deleteQueue(vhost.name, billingQueue);
    await expect.poll(() => state(vhost), { timeout: 20_000 }).toBeDefined();
    const bindings = async (): Promise<string[]> =>
      (await vhost.management.bindings(vhost.name)).map(({ source, destination }) => `${source} → ${destination}`);
    await expect.poll(bindings).toContain(`order.placed → ${billingQueue}`);
    await till.notify(orderPlaced, order(2));
    expect(begun).toEqual([1]);
    shelf.isThere = true;
    await expect.poll(() => begun).toContain(2);
    expect(paused.all).toHaveLength(1);
  });

  test("on a quorum queue with retry in place, 22 outages use up no attempt", async ({ broker, cleanup, skip }) => {
    if (broker.version.startsWith("3.")) skip("needs RabbitMQ 4: older quorum queues put everything back at their end");
    const vhost = cleanup(await createVirtualHost(broker, { defaultQueueType: "quorum" }));
    using paused = recordEvents("paused");
    const till = cleanup(await connect(vhost.url, { system, service: "till" }));
    const billing = cleanup(await connect(vhost.url, { system, service: "billing" }));
    const attempts: [number, number][] = [];
    let questions = 0;
    await billing.subscribe(
      orderPlaced,
      ({ pieces }, { attempt }) => {
        attempts.push([pieces, attempt]);
        if (pieces === 1 && attempts.length <= 22) throw new Error("no shelf");
      },
      // No when a handler has failed, yes at the next question
      { retry: "in-place", isAvailable: async () => questions++ % 2 === 1 },
    );
    await till.notify(orderPlaced, order(1));
    await till.notify(orderPlaced, order(2));
    await expect.poll(() => attempts, { timeout: 45_000 }).toHaveLength(24);
    expect(attempts).toEqual([...Array.from({ length: 23 }, () => [1, 1]), [2, 1]]);
    expect(paused.all).toHaveLength(22);
  });
});
