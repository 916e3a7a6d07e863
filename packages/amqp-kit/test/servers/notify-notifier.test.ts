import { amqpMethods, startProxy } from "@amqp-idioms/local-servers";
import { test } from "@amqp-idioms/local-servers/vitest";
import { describe, expect } from "vitest";
import {
  connect,
  ConnectionError,
  InvalidMessageError,
  MessageTooLargeError,
  PublishError,
  UsageError,
} from "../../src/index.ts";
import { orderPlaced, system } from "../contracts.ts";
import { ClosedByAmqplib } from "../closed-by-amqplib.ts";
import { order, numbers } from "../notifying.ts";

describe("notify, from a notifier", () => {
  test("it resolves only after the broker's confirm (pitfall 31)", async ({ vhost, cleanup }) => {
    const proxy = cleanup(await startProxy(vhost.url));
    const till = cleanup(await connect(proxy.url, { system, service: "till" }));
    await till.notify(orderPlaced, order(1));
    const held = Promise.withResolvers<void>();
    proxy.filter(({ method }, direction) => {
      if (method !== amqpMethods.basicAck || direction !== "to-client") return "pass";
      held.resolve();
      return "hold";
    });
    let isResolved = false;
    const notifying = till.notify(orderPlaced, order(2)).then(() => (isResolved = true));
    await held.promise;
    // As long as it takes to ask the broker something else
    expect(await vhost.management.getMessages(vhost.name, "order.placed.billing")).toHaveLength(2);
    expect(isResolved).toBe(false);
    proxy.release();
    expect(await notifying).toBe(true);
  });

  test("no confirm in time: rejects, outcome unknown, naming the message and what to do (pitfall 40)", async ({
    vhost,
    cleanup,
  }) => {
    const proxy = cleanup(await startProxy(vhost.url));
    const till = cleanup(await connect(proxy.url, { system, service: "till", closeTimeoutMs: 500 }));
    await till.notify(orderPlaced, order(1));
    proxy.filter(({ method }) => (method === amqpMethods.basicAck ? "drop" : "pass"));
    const notifying = till.notify(orderPlaced, order(2), { messageId: "the second", timeoutMs: 300 });
    await expect(notifying).rejects.toBeInstanceOf(PublishError);
    await expect(notifying).rejects.toMatchObject({
      code: "AMQP_KIT_PUBLISH",
      reason: "timeout",
      outcome: "unknown",
      retryable: true,
      messageId: "the second",
      exchange: "order.placed",
      message: expect.stringMatching(/the second.*300 ms.*same message id/s),
    });
    // It was only the confirm that was lost
    expect(await vhost.management.getMessages(vhost.name, "order.placed.billing")).toHaveLength(2);
  });

  test("the connection lost before the confirm: rejects, outcome unknown; the next one works again (pitfall 37)", async ({
    vhost,
    cleanup,
  }) => {
    const proxy = cleanup(await startProxy(vhost.url));
    const till = cleanup(await connect(proxy.url, { system, service: "till" }));
    await till.notify(orderPlaced, order(1));
    proxy.filter(({ method }) => (method === amqpMethods.basicAck ? "cut" : "pass"));
    const notifying = till.notify(orderPlaced, order(2));
    await expect(notifying).rejects.toMatchObject({ reason: "channel-lost", outcome: "unknown", retryable: true });
    proxy.filter(undefined);
    await till.notify(orderPlaced, order(3));
    expect(await vhost.management.getMessages(vhost.name, "order.placed.billing")).toHaveLength(3);
  });

  test.for(["channel", "connection"] as const)(
    "a notification sent while amqplib closes the %s waits for the next one within its time limit (pitfall 7a)",
    async (what, { vhost, cleanup }) => {
      const proxy = cleanup(await startProxy(vhost.url));
      const publishing = new ClosedByAmqplib(proxy);
      const till = cleanup(await connect(proxy.url, { system, service: "till", closeTimeoutMs: 500 }));
      await till.notify(orderPlaced, order(1));
      await publishing.provoke(what);
      await expect(till.notify(orderPlaced, order(2), { timeoutMs: 100 })).rejects.toMatchObject({
        code: "AMQP_KIT_CONNECTION",
        outcome: "not-executed",
      });
      const notifying = till.notify(orderPlaced, order(3));
      publishing.release();
      await notifying;
      expect(await vhost.management.getMessages(vhost.name, "order.placed.billing")).toHaveLength(2);
    },
  );

  test("no queue is bound: notify rejects with outcome not-executed, and the queues are declared again within 5 s (pitfall 38)", async ({
    vhost,
    cleanup,
  }) => {
    const till = cleanup(await connect(vhost.url, { system, service: "till" }));
    // The first one on a channel would have found them missing
    await till.notify(orderPlaced, order(1_000_000));
    for (const queue of ["order.placed.billing", "order.placed.shipping"]) {
      await vhost.management.deleteQueue(vhost.name, queue);
    }
    const unroutable = till.notify(orderPlaced, order(1));
    await expect(unroutable).rejects.toBeInstanceOf(PublishError);
    await expect(unroutable).rejects.toMatchObject({ reason: "unroutable", outcome: "not-executed", retryable: true });
    await expect
      .poll(
        () =>
          till.notify(orderPlaced, order(51)).then(
            () => "confirmed",
            () => "failed",
          ),
        { timeout: 6_000 },
      )
      .toBe("confirmed");
  });

  test("one of many at a time is unroutable: each caller gets its own outcome (pitfall 39)", async ({
    vhost,
    cleanup,
  }) => {
    const till = cleanup(await connect(vhost.url, { system, service: "till" }));
    // The first one on a channel would have found them missing
    await till.notify(orderPlaced, order(1_000_000));
    for (const queue of ["order.placed.billing", "order.placed.shipping"]) {
      await vhost.management.deleteQueue(vhost.name, queue);
    }
    const outcomes: (readonly [number, boolean])[] = [];
    const tell = async (pieces: number): Promise<void> => {
      const isConfirmed = await till.notify(orderPlaced, order(pieces)).then(
        () => true,
        () => false,
      );
      outcomes.push([pieces, isConfirmed]);
    };
    let last = 0;
    const isBack = async (): Promise<boolean> => {
      await Promise.all(numbers(last + 1, (last += 100)).map(tell));
      return outcomes.some(([, isConfirmed]) => isConfirmed);
    };
    await expect.poll(isBack, { timeout: 8_000, interval: 1 }).toBe(true);
    const confirmed = outcomes.filter(([, isConfirmed]) => isConfirmed).map(([pieces]) => pieces);
    const taken = new Set<number>();
    for (const queue of ["order.placed.billing", "order.placed.shipping"]) {
      const messages = await vhost.management.getMessages(vhost.name, queue, { count: 10_000 });
      for (const { payload } of messages) taken.add(JSON.parse(payload).pieces);
    }
    expect([...taken].toSorted((a, b) => a - b)).toEqual(confirmed.toSorted((a, b) => a - b));
  });

  test("the broker refuses it: rejects, and says so (pitfall 41)", async ({ vhost, cleanup }) => {
    const till = cleanup(await connect(vhost.url, { system, service: "till" }));
    const definition = { "max-length": 1, overflow: "reject-publish" };
    await vhost.management.setPolicy(vhost.name, "full", { pattern: "^order\\.placed\\.billing$", definition });
    const results: string[] = [];
    const tell = (): Promise<string> =>
      till.notify(orderPlaced, order(1)).then(
        () => "confirmed",
        (error: unknown) =>
          error instanceof PublishError ? `${error.reason}, outcome ${error.outcome}` : String(error),
      );
    await expect.poll(async () => results.push(await tell()) && results.at(-1)).toBe("refused, outcome unknown");
    await vhost.management.clearPolicy(vhost.name, "full");
    await expect.poll(tell).toBe("confirmed");
  });

  test("it waits for a connection within its time limit, and says that nothing was sent (pitfalls 4, 37)", async ({
    vhost,
    cleanup,
  }) => {
    const proxy = cleanup(await startProxy(vhost.url));
    const till = cleanup(await connect(proxy.url, { system, service: "till" }));
    proxy.refuse();
    proxy.cut();
    await expect.poll(() => till.isReady).toBe(false);
    const before = performance.now();
    const notifying = till.notify(orderPlaced, order(1), { timeoutMs: 300 });
    await expect(notifying).rejects.toBeInstanceOf(ConnectionError);
    await expect(notifying).rejects.toMatchObject({ retryable: true, outcome: "not-executed" });
    expect(performance.now() - before).toBeLessThan(2_000);

    const patient = till.notify(orderPlaced, order(2), { timeoutMs: 30_000 });
    const reason = new Error("the customer has left");
    const leaving = new AbortController();
    const impatient = till.notify(orderPlaced, order(3), { signal: leaving.signal });
    leaving.abort(reason);
    await expect(impatient).rejects.toBe(reason);
    proxy.accept();
    await patient;
    const kept = await vhost.management.getMessages(vhost.name, "order.placed.billing");
    expect(kept.map(({ payload }) => JSON.parse(payload).pieces)).toEqual([2]);
  });

  test("at most 1,000 are unconfirmed: the next wait for room, within their own time limit (pitfalls 34, 36)", async ({
    vhost,
    cleanup,
  }) => {
    const proxy = cleanup(await startProxy(vhost.url));
    const till = cleanup(await connect(proxy.url, { system, service: "till" }));
    await till.notify(orderPlaced, order(1));
    proxy.filter(({ method }) => (method === amqpMethods.basicAck ? "hold" : "pass"));
    const first = numbers(2, 1_001).map((pieces) => till.notify(orderPlaced, order(pieces), { timeoutMs: 30_000 }));
    const hasty = till.notify(orderPlaced, order(1_002), { timeoutMs: 300 });
    const patient = till.notify(orderPlaced, order(1_003), { timeoutMs: 30_000 });
    await expect(hasty).rejects.toMatchObject({ code: "AMQP_KIT_CONNECTION", outcome: "not-executed" });
    proxy.filter(undefined);
    proxy.release();
    await Promise.all([...first, patient]);
    const kept = await vhost.management.getMessages(vhost.name, "order.placed.billing", { count: 2_000 });
    expect(kept.map(({ payload }) => JSON.parse(payload).pieces)).toEqual([...numbers(1, 1_001), 1_003]);
  });

  test("the broker's alarm holds notify back until it ends (pitfall 42)", async ({ ownBroker, cleanup }) => {
    const till = cleanup(await connect(ownBroker.url, { system, service: "till" }));
    const billing = cleanup(await connect(ownBroker.url, { system, service: "billing" }));
    const handled: number[] = [];
    await billing.subscribe(orderPlaced, ({ pieces }) => handled.push(pieces));
    await till.notify(orderPlaced, order(1));
    await ownBroker.raiseMemoryAlarm();
    const hasty = till.notify(orderPlaced, order(2), { timeoutMs: 500 });
    const patient = till.notify(orderPlaced, order(3), { timeoutMs: 30_000 });
    await expect(hasty).rejects.toMatchObject({ reason: "timeout", outcome: "unknown" });
    await ownBroker.clearMemoryAlarm();
    await patient;
    await expect.poll(() => handled).toContain(3);
  });

  test("invalid and over-large messages and ids reject before the wire (pitfalls 43, 120)", async ({
    vhost,
    cleanup,
  }) => {
    const till = cleanup(await connect(vhost.url, { system, service: "till" }));
    const invalid = till.notify(orderPlaced, { orderId: "", article: "Maria Schmidt", pieces: 1 });
    await expect(invalid).rejects.toBeInstanceOf(InvalidMessageError);
    await expect(invalid).rejects.toMatchObject({ issues: [{ path: "orderId" }] });
    await expect(invalid).rejects.not.toThrow("Maria");
    const large = till.notify(orderPlaced, { ...order(1), article: "x".repeat(17 * 1024 * 1024) });
    await expect(large).rejects.toBeInstanceOf(MessageTooLargeError);
    for (const messageId of ["", "x".repeat(256)]) {
      await expect(till.notify(orderPlaced, order(1), { messageId })).rejects.toBeInstanceOf(UsageError);
    }
    // On the same channel, which nothing of this has harmed
    await till.notify(orderPlaced, order(2));
    expect(await vhost.management.getMessages(vhost.name, "order.placed.billing")).toHaveLength(1);
  });
});
