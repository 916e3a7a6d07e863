import { randomUUID } from "node:crypto";
import { setTimeout as sleep } from "node:timers/promises";
import { startProxy } from "@amqp-idioms/local-servers";
import { test } from "@amqp-idioms/local-servers/vitest";
import { describe, expect } from "vitest";
import { connect, UsageError } from "../../src/index.ts";
import { orderPlaced, system } from "../contracts.ts";
import { bareNotifier } from "../peers/bare-notify.ts";
import { recordEvents, recordingLogger } from "../recording.ts";
import { order, numbers, setAside } from "../notifying.ts";

describe("notify, to a subscriber", () => {
  test("a message delivered twice because the connection drops has one id and is marked as redelivered, and the first handler's signal aborts (pitfalls 56, 58)", async ({
    vhost,
    cleanup,
  }) => {
    const till = cleanup(await connect(vhost.url, { system, service: "till" }));
    const proxy = cleanup(await startProxy(vhost.url));
    const billing = cleanup(await connect(proxy.url, { system, service: "billing" }));
    const deliveries: { messageId: string | undefined; redelivered: boolean; attempt: number }[] = [];
    const lost = Promise.withResolvers<void>();
    await billing.subscribe(orderPlaced, async (_, { messageId, redelivered, attempt, signal }) => {
      deliveries.push({ messageId, redelivered, attempt });
      if (deliveries.length > 1) return;
      signal.addEventListener("abort", () => lost.resolve());
      await lost.promise;
      // And then it acknowledges, on a channel that is gone
    });
    const messageId = randomUUID();
    await till.notify(orderPlaced, order(1), { messageId });
    await expect.poll(() => deliveries).toHaveLength(1);
    proxy.cut();
    await lost.promise;
    await till.notify(orderPlaced, order(2), { messageId: "the next" });
    await expect
      .poll(() => deliveries)
      .toEqual([
        { messageId, redelivered: false, attempt: 1 },
        { messageId, redelivered: true, attempt: 1 },
        { messageId: "the next", redelivered: false, attempt: 1 },
      ]);
    expect(billing.isReady).toBe(true);
  });

  test("malformed message: dead-lettered immediately with the reason, unchanged; the one behind it is handled (pitfalls 90b, 109, 116)", async ({
    vhost,
    cleanup,
  }) => {
    using events = recordEvents("dead-lettered");
    const logger = recordingLogger();
    const billing = cleanup(await connect(vhost.url, { system, service: "billing", logger }));
    const handled: number[] = [];
    const notifier = cleanup(await bareNotifier(vhost.url, "order.placed", []));
    await billing.subscribe(orderPlaced, ({ pieces }) => handled.push(pieces));
    const user = decodeURIComponent(new URL(vhost.url).username);
    await notifier.notify('{"orderId":"1","article":"Maria Schmidt","pieces":0}', {
      messageId: "malformed",
      correlationId: "of the shop",
      type: "an old type",
      appId: "an old till",
      timestamp: 1_700_000_000,
      priority: 3,
      // A broker acts upon these: they would empty .dead, close the channel, put copies into other queues
      expiration: "60000",
      userId: user,
      headers: { colour: "red", "x-delay": 5, CC: ["elsewhere"], BCC: ["elsewhere"], "amqp-kit-attempt": 6 },
    });
    const bodies = ["", "{", "[1]", Buffer.from([0xff, 0xfe]), Buffer.alloc(1024 * 1024 + 1, "[")];
    for (const body of bodies) await notifier.notify(body);
    await notifier.notify("{}", { contentType: "text/xml" });
    await notifier.notify("{}", { contentEncoding: "gzip" });
    await notifier.notify(JSON.stringify(order(7)));

    await expect.poll(() => handled).toEqual([7]);
    const dead = await setAside(vhost, "billing");
    const reasons = dead.map(({ properties }) => properties.headers?.["amqp-kit-reason"]);
    expect(reasons).toEqual([
      ...Array.from({ length: 5 }, () => "invalid_message"),
      "message_too_large",
      "invalid_message",
      "invalid_message",
    ]);
    const [first] = dead;
    expect(first).toMatchObject({
      exchange: "order.placed.billing.failed",
      routing_key: "order.placed.billing.dead",
      payload: '{"orderId":"1","article":"Maria Schmidt","pieces":0}',
      properties: {
        message_id: "malformed",
        correlation_id: "of the shop",
        type: "an old type",
        app_id: "an old till",
        timestamp: 1_700_000_000,
        priority: 3,
        content_type: "application/json",
        delivery_mode: 2,
      },
    });
    const instant = expect.stringMatching(/^\d{4}-\d\d-\d\dT.*Z$/);
    expect(first?.properties.headers).toEqual({
      colour: "red",
      "amqp-kit-attempt": 1,
      "amqp-kit-error": expect.stringMatching(/^InvalidMessageError: .*pieces: /),
      "amqp-kit-error-code": "AMQP_KIT_INVALID_MESSAGE",
      "amqp-kit-error-path": "pieces",
      "amqp-kit-first-failed-at": instant,
      "amqp-kit-last-failed-at": instant,
      "amqp-kit-queue": "order.placed.billing",
      "amqp-kit-reason": "invalid_message",
      "amqp-kit-service": "billing",
    });
    expect(first?.properties).not.toHaveProperty("expiration");
    expect(first?.properties).not.toHaveProperty("user_id");
    expect(events.all[0]).toEqual({ contract: "order.placed", messageId: "malformed", reason: "invalid_message" });
    expect(events.all).toHaveLength(8);
    expect(JSON.stringify([logger.lines, dead.map(({ properties }) => properties)])).not.toContain("Maria");
  });

  test("handler fails: another attempt after each delay, at this subscriber only, then dead-lettered (pitfalls 8, 44, 82, 92, 96, 116, 123)", async ({
    vhost,
    cleanup,
  }) => {
    using retries = recordEvents("retried");
    const logger = recordingLogger();
    const till = cleanup(await connect(vhost.url, { system, service: "till" }));
    const billing = cleanup(await connect(vhost.url, { system, service: "billing", logger }));
    const shipping = cleanup(await connect(vhost.url, { system, service: "shipping" }));
    const attempts: { attempt: number; messageId: string | undefined; at: number }[] = [];
    const handled: number[] = [];
    const shipped: number[] = [];
    await shipping.subscribe(orderPlaced, ({ pieces }) => shipped.push(pieces));
    await billing.subscribe(
      orderPlaced,
      ({ pieces, article }, { attempt, messageId }) => {
        if (pieces > 1) return handled.push(pieces);
        attempts.push({ attempt, messageId, at: performance.now() });
        const error = new RangeError(`no bill for ${article}, ${"x".repeat(100_000)}`);
        // Thrown, or later
        if (attempt === 1) throw error;
        return sleep(1).then(() => Promise.reject(error));
      },
      { retryDelaysMs: [100, 700] },
    );
    await till.notify(orderPlaced, { ...order(1), article: "Maria Schmidt" }, { messageId: "poison" });
    await till.notify(orderPlaced, order(2));
    // The one behind it is not held up
    await expect.poll(() => handled).toEqual([2]);
    expect(attempts).toHaveLength(1);
    await expect.poll(() => setAside(vhost, "billing")).toHaveLength(1);

    expect(attempts.map(({ attempt, messageId }) => [attempt, messageId])).toEqual([
      [1, "poison"],
      [2, "poison"],
      [3, "poison"],
    ]);
    const [first, second, third] = attempts.map(({ at }) => at);
    expect((second ?? 0) - (first ?? 0)).toBeGreaterThanOrEqual(95);
    expect((third ?? 0) - (second ?? 0)).toBeGreaterThanOrEqual(695);
    expect(retries.all).toEqual([
      { contract: "order.placed", messageId: "poison", attempt: 1, delayMs: 100 },
      { contract: "order.placed", messageId: "poison", attempt: 2, delayMs: 700 },
    ]);
    const [dead] = await setAside(vhost, "billing");
    expect(dead?.properties).toMatchObject({
      message_id: "poison",
      headers: { "amqp-kit-attempt": 3, "amqp-kit-reason": "handler_failed", "amqp-kit-error": "RangeError" },
    });
    expect(dead?.payload).toContain("Maria Schmidt");
    await till.notify(orderPlaced, order(3));
    await expect.poll(() => shipped).toEqual([1, 2, 3]);
    expect(JSON.stringify([logger.lines, dead?.properties])).not.toContain("Maria");
  });

  test("two processes of one subscriber share its queue; concurrency says how many each handles at a time", async ({
    vhost,
    cleanup,
  }) => {
    const till = cleanup(await connect(vhost.url, { system, service: "till" }));
    const handled: number[][] = [[], []];
    let atWork = 0;
    let mostAtWork = 0;
    for (const list of handled) {
      const billing = cleanup(await connect(vhost.url, { system, service: "billing" }));
      await billing.subscribe(
        orderPlaced,
        async ({ pieces }) => {
          list.push(pieces);
          mostAtWork = Math.max(mostAtWork, ++atWork);
          await sleep(5);
          atWork--;
        },
        { concurrency: 3 },
      );
    }
    await Promise.all(numbers(1, 200).map((pieces) => till.notify(orderPlaced, order(pieces))));
    await expect.poll(() => handled.flat().toSorted((a, b) => a - b)).toEqual(numbers(1, 200));
    for (const list of handled) expect(list.length).toBeGreaterThan(20);
    expect(mostAtWork).toBeGreaterThan(3);
    expect(mostAtWork).toBeLessThanOrEqual(6);
  });

  test("misspelt options and absurd delays are refused instead of ignored (pitfall 93)", async ({ vhost, cleanup }) => {
    const billing = cleanup(await connect(vhost.url, { system, service: "billing" }));
    const misspelt = { retryDelayMs: [5] };
    await expect(billing.subscribe(orderPlaced, () => undefined, misspelt as object)).rejects.toThrow(
      "subscribe: unknown option retryDelayMs",
    );
    for (const options of [{ retryDelaysMs: [0] }, { retryDelaysMs: [Number.NaN] }, { concurrency: -1 }]) {
      await expect(billing.subscribe(orderPlaced, () => undefined, options)).rejects.toBeInstanceOf(UsageError);
    }
  });

  test("stop finishes the messages in flight; the rest waits for the next consumer", async ({ vhost, cleanup }) => {
    const till = cleanup(await connect(vhost.url, { system, service: "till" }));
    const billing = cleanup(await connect(vhost.url, { system, service: "billing" }));
    const handled: number[] = [];
    const gate = Promise.withResolvers<void>();
    const begun = new Set<number>();
    const subscribing = await billing.subscribe(
      orderPlaced,
      async ({ pieces }) => {
        begun.add(pieces);
        await gate.promise;
        handled.push(pieces);
      },
      { concurrency: 5 },
    );
    await Promise.all(numbers(1, 100).map((pieces) => till.notify(orderPlaced, order(pieces))));
    await expect.poll(() => begun.size).toBe(5);
    const stopping = subscribing.stop();
    gate.resolve();
    await stopping;
    expect(handled).toEqual(numbers(1, 5));
    const redelivered: number[] = [];
    await billing.subscribe(orderPlaced, ({ pieces }, delivery) => {
      handled.push(pieces);
      if (delivery.redelivered) redelivered.push(pieces);
    });
    await expect.poll(() => handled).toEqual(numbers(1, 100));
    // None that was handled comes again, however many were on their way when it stopped
    expect(redelivered.length).toBeLessThanOrEqual(5);
  });
});
