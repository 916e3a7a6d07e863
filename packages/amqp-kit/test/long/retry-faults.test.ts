import { randomUUID } from "node:crypto";
import { amqpMethods, createVirtualHost, startProxy } from "@amqp-idioms/local-servers";
import { test } from "@amqp-idioms/local-servers/vitest";
import { describe, expect } from "vitest";
import { connectWith } from "../../src/connect.ts";
import { connect } from "../../src/index.ts";
import type { SubscribeOptions } from "../../src/index.ts";
import { orderPlaced, system } from "../contracts.ts";
import { billingProcess, billingQueue, numbers, order, ordersOf, setAside } from "../orders.ts";
import { bareNotifier } from "../peers/bare-notify.ts";
import { recordEvents, recordingLogger } from "../recording.ts";
import { json } from "../retrying.ts";

/** Order 1 fails once, and order 2 waits for it. */
const heldTheLine = [
  { pieces: 1, attempt: 1 },
  { pieces: 1, attempt: 2 },
  { pieces: 2, attempt: 1 },
];

describe("a message whose handler failed", () => {
  test("waits by default 1 s before its second attempt, and there are queues for five delays", async ({
    vhost,
    cleanup,
  }) => {
    using retries = recordEvents("retried");
    const till = cleanup(await connect(vhost.url, { system, service: "till" }));
    const billing = cleanup(await connect(vhost.url, { system, service: "billing" }));
    const at: number[] = [];
    await billing.subscribe(orderPlaced, (_, { attempt }) => {
      at.push(performance.now());
      if (attempt === 1) throw new Error("not yet");
    });
    await till.notify(orderPlaced, order(1));
    await expect.poll(() => at).toHaveLength(2);
    expect((at[1] ?? 0) - (at[0] ?? 0)).toBeGreaterThanOrEqual(995);
    expect(retries.all).toMatchObject([{ attempt: 1, delayMs: 1_000 }]);
    const names = (await vhost.management.queues(vhost.name)).map(({ name }) => name);
    const delays = [1_000, 5_000, 30_000, 120_000, 600_000].map((delayMs) => `${billingQueue}.delay.${delayMs}`);
    expect(names.filter((name) => name.includes(".delay.")).toSorted()).toEqual(delays.toSorted());
  });

  test("two versions with different delays run side by side, and a delay queue drains itself when no version uses it", async ({
    vhost,
    cleanup,
  }) => {
    const till = cleanup(await connect(vhost.url, { system, service: "till" }));
    const seen: string[] = [];
    const version = async (name: string, retryDelaysMs: number[]): Promise<() => Promise<unknown>> => {
      const billing = cleanup(await connect(vhost.url, { system, service: "billing" }));
      const fail = (_: unknown, { attempt }: { attempt: number }): void => {
        seen.push(`${name}, attempt ${attempt}`);
        throw new Error("not yet");
      };
      await billing.subscribe(orderPlaced, fail, { retryDelaysMs });
      return () => billing.close();
    };
    const leaveOld = await version("old", [1_000, 60_000]);
    await till.notify(orderPlaced, order(1));
    await expect.poll(() => seen).toEqual(["old, attempt 1"]);
    const leaveNew = await version("new", [60_000, 700]);
    await leaveOld();
    // What the old one sent to wait comes back at its time, and goes on by the new one's delays
    await expect.poll(() => seen).toEqual(["old, attempt 1", "new, attempt 2", "new, attempt 3"]);
    await expect.poll(() => setAside(vhost)).toHaveLength(1);
    await leaveNew();

    const leaveLast = await version("last", [400]);
    await till.notify(orderPlaced, order(2));
    await expect.poll(() => seen.at(-1)).toBe("last, attempt 1");
    await leaveLast();
    await expect.poll(() => vhost.management.queue(vhost.name, billingQueue)).toMatchObject({ messages: 1 });
    await expect
      .poll(() => vhost.management.queue(vhost.name, `${billingQueue}.delay.400`))
      .toMatchObject({ messages: 0 });
  });

  test("is delivered twice, never lost, if its process is killed with -9 between the broker's confirm and the acknowledgement", async ({
    vhost,
    cleanup,
  }) => {
    const till = cleanup(await connect(vhost.url, { system, service: "till" }));
    const proxy = cleanup(await startProxy(vhost.url));
    const atAck = Promise.withResolvers<void>();
    proxy.filter(({ method }, direction) => {
      if (method !== amqpMethods.basicAck || direction !== "to-server") return "pass";
      atAck.resolve();
      return "drop";
    });
    const doomed = cleanup(await billingProcess(proxy.url));
    await till.notify(orderPlaced, order(1, "failing"), { messageId: "doubled" });
    await atAck.promise;
    await doomed.kill();
    expect(ordersOf(doomed, "begun")).toEqual([1]);
    const billing = cleanup(await connect(vhost.url, { system, service: "billing" }));
    const came: unknown[] = [];
    await billing.subscribe(orderPlaced, (_, { messageId, attempt, redelivered }) => {
      came.push({ messageId, attempt, redelivered });
    });
    await expect
      .poll(() => came)
      .toEqual([
        { messageId: "doubled", attempt: 1, redelivered: true },
        { messageId: "doubled", attempt: 2, redelivered: false },
      ]);
  });

  const killed = "a broker killed with -9 in the middle of the way back loses none of 5,000 (pitfalls 88, 90a)";
  test(killed, { timeout: 120_000 }, async ({ ownBroker, cleanup }) => {
    await using vhost = await createVirtualHost(ownBroker);
    const delayMs = 4_000;
    const options = { concurrency: 500, retryDelaysMs: [delayMs] };
    const arrived = new Set<number>();
    const half = Promise.withResolvers<void>();
    const billing = cleanup(await connect(vhost.url, { system, service: "billing" }));
    // Declares where the messages wait; the test puts them there, as a failing handler does
    await billing.subscribe(
      orderPlaced,
      ({ pieces }) => {
        arrived.add(pieces);
        if (arrived.size >= 1_000) half.resolve();
      },
      options,
    );
    const all = numbers(1, 5_000);
    const bodies = all.map((pieces) => JSON.stringify(order(pieces)));
    {
      await using stranger = await bareNotifier(vhost.url, "order.placed", []);
      await stranger.fail(billingQueue, delayMs, bodies);
    }
    await half.promise;
    await ownBroker.kill();
    const before = arrived.size;
    expect(before).toBeGreaterThan(0);
    expect(before).toBeLessThan(all.length);
    await ownBroker.start();
    await expect.poll(() => arrived.size, { timeout: 60_000, interval: 100 }).toBe(all.length);
    await billing.close();
  });
});

test("a failed message that a broker alarm delays is reported, waits for its confirm, and is not sent twice", async ({
  ownBroker,
  cleanup,
}) => {
  await using vhost = await createVirtualHost(ownBroker);
  const logger = recordingLogger();
  cleanup(await connect(vhost.url, { system, service: "till" }));
  const options = { system, service: "billing", logger } as const;
  const billing = cleanup(await connectWith({ confirmReportMs: 1_000 }, vhost.url, options));
  const begun: number[] = [];
  await billing.subscribe(
    orderPlaced,
    ({ pieces }, { attempt }) => {
      begun.push(pieces * 10 + attempt);
      if (attempt === 1) throw new Error("not yet");
    },
    { retryDelaysMs: [100] },
  );
  await ownBroker.raiseMemoryAlarm();
  const body = JSON.stringify(order(1));
  await vhost.management.publish(vhost.name, { exchange: "order.placed", routingKey: "", body, properties: json });
  const told = (): string[] => logger.lines.map(({ message }) => message);
  await expect.poll(told).toContain("cannot move a failed message yet");
  await ownBroker.clearMemoryAlarm();
  const second = { exchange: "order.placed", routingKey: "", body: JSON.stringify(order(2)), properties: json };
  await vhost.management.publish(vhost.name, second);
  // By the same way, behind whatever the first one became
  await expect.poll(() => begun).toContain(22);
  expect(begun.toSorted((one, other) => one - other)).toEqual([11, 12, 21, 22]);
});

describe('retried in place (retry: "in-place")', () => {
  test.for([
    ["", { messageId: randomUUID() }],
    [", also without a message id", {}],
  ] as const)(
    "a message whose connection is lost while it waits is redelivered, retried at its time, and its attempts continue%s",
    async ([, properties], { vhost, cleanup }) => {
      const till = cleanup(await bareNotifier(vhost.url, "order.placed", ["billing"]));
      const proxy = cleanup(await startProxy(vhost.url));
      const billing = cleanup(await connect(proxy.url, { system, service: "billing" }));
      const begun: { pieces: number; attempt: number; at: number }[] = [];
      await billing.subscribe(
        orderPlaced,
        ({ pieces }, { attempt }) => {
          begun.push({ pieces, attempt, at: performance.now() });
          if (attempt === 1 && pieces === 1) throw new Error("not yet");
        },
        { retry: "in-place", retryDelaysMs: [4_000] },
      );
      await till.notify(JSON.stringify(order(1)), properties);
      await till.notify(JSON.stringify(order(2)));
      await expect.poll(() => begun).toHaveLength(1);
      proxy.cut();
      await expect.poll(() => begun, { timeout: 20_000 }).toMatchObject(heldTheLine);
      expect((begun[1]?.at ?? 0) - (begun[0]?.at ?? 0)).toBeGreaterThanOrEqual(3_998);
    },
  );

  test("a message that the broker takes back unacknowledged is redelivered, retried at its time, and its attempts continue (pitfall 52)", async ({
    broker,
    cleanup,
    skip,
  }) => {
    if (broker.version.startsWith("3.10.")) skip("needs RabbitMQ 4.3 or newer: a consumer timeout by policy");
    const vhost = cleanup(await createVirtualHost(broker, { defaultQueueType: "quorum" }));
    const impatient = { pattern: `^${billingQueue}$`, definition: { "consumer-timeout": 1_000 } };
    await vhost.management.setPolicy(vhost.name, "impatient", impatient);
    const logger = recordingLogger();
    const till = cleanup(await connect(vhost.url, { system, service: "till" }));
    const billing = cleanup(await connect(vhost.url, { system, service: "billing", logger }));
    const begun: { pieces: number; attempt: number; at: number }[] = [];
    await billing.subscribe(
      orderPlaced,
      ({ pieces }, { attempt }) => {
        begun.push({ pieces, attempt, at: performance.now() });
        if (attempt === 1 && pieces === 1) throw new Error("not yet");
      },
      { retry: "in-place", retryDelaysMs: [5_000] },
    );
    await till.notify(orderPlaced, order(1));
    await till.notify(orderPlaced, order(2));
    await expect.poll(() => begun).toMatchObject(heldTheLine);
    expect((begun[1]?.at ?? 0) - (begun[0]?.at ?? 0)).toBeGreaterThanOrEqual(4_998);
    const lost = logger.lines.filter(({ message }) => message.startsWith("consumer lost"));
    expect(lost.length).toBeGreaterThan(0);
  });

  test("close ends the wait, and the next process starts the message over, before those behind it", async ({
    vhost,
    cleanup,
  }) => {
    const till = cleanup(await connect(vhost.url, { system, service: "till" }));
    const first = cleanup(await connect(vhost.url, { system, service: "billing" }));
    const options: SubscribeOptions = { retry: "in-place", retryDelaysMs: [60_000] };
    const failed = Promise.withResolvers<void>();
    const fail = (): never => {
      failed.resolve();
      throw new Error("not yet");
    };
    await first.subscribe(orderPlaced, fail, options);
    await till.notify(orderPlaced, order(1));
    await till.notify(orderPlaced, order(2));
    await failed.promise;
    const since = performance.now();
    await first.close();
    expect(performance.now() - since).toBeLessThan(3_000);
    const next = cleanup(await connect(vhost.url, { system, service: "billing" }));
    const came: unknown[] = [];
    await next.subscribe(orderPlaced, ({ pieces }, { attempt }) => void came.push({ pieces, attempt }), options);
    await expect
      .poll(() => came)
      .toEqual([
        { pieces: 1, attempt: 1 },
        { pieces: 2, attempt: 1 },
      ]);
  });
});
