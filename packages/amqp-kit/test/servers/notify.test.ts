import { randomUUID } from "node:crypto";
import { setTimeout as sleep } from "node:timers/promises";
import {
  amqpMethods,
  createVirtualHost,
  type FetchedMessage,
  startProxy,
  type VirtualHost,
} from "@amqp-idioms/local-servers";
import { type Cleanup, test } from "@amqp-idioms/local-servers/vitest";
import { describe, expect } from "vitest";
import {
  connect,
  ConnectionError,
  InvalidMessageError,
  MessageTooLargeError,
  PublishError,
  UsageError,
} from "../../src/index.ts";
import { type Order, orderPlaced, system } from "../contracts.ts";
import { ClosedByAmqplib } from "../closed-by-amqplib.ts";
import { bareNotifier, bareSubscriber } from "../peers/bare-notify.ts";
import { recordEvents, recordingLogger } from "../recording.ts";

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

type Leave = () => Promise<void>;
type Service = "billing" | "shipping";
type OnPieces = (pieces: number) => unknown;
const subscribers = {
  kit: async (url: string, service: Service, onPieces: OnPieces): Promise<Leave> => {
    const amqp = await connect(url, { system, service });
    await amqp.subscribe(orderPlaced, ({ pieces }) => onPieces(pieces));
    return async () => void (await amqp.close());
  },
  bare: async (url: string, service: Service, onPieces: OnPieces): Promise<Leave> => {
    const subscriber = await bareSubscriber(url, "order.placed", service, ({ content }) =>
      onPieces(JSON.parse(content.toString()).pieces),
    );
    return () => subscriber[Symbol.asyncDispose]();
  },
};

const pairs = [
  { notifier: "kit", subscriber: "kit" },
  { notifier: "kit", subscriber: "bare" },
  { notifier: "bare", subscriber: "kit" },
] as const;

const order = (pieces: number): Order => ({ orderId: `order-${pieces}`, article: "lamp", pieces });
const numbers = (from: number, to: number): number[] =>
  Array.from({ length: to - from + 1 }, (_, index) => from + index);
const setAside = (vhost: VirtualHost, service: Service): Promise<FetchedMessage[]> =>
  vhost.management.getMessages(vhost.name, `order.placed.${service}.dead`);

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

  test("nobody is listening: kept, since every subscriber has its queue before it ever ran (pitfall 28)", async ({
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

  test("receiver is down: all of it waits, in order", async ({ vhost, cleanup }) => {
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
  test("the promises are the same: kept, in order, retried, set aside (pitfalls 27, 62)", async ({
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

describe("notify, to a subscriber", () => {
  test("delivered twice when the connection drops in between: under one id, marked, and the first handler is told (pitfalls 56, 58)", async ({
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

  test("malformed message: set aside in .dead at once with the reason, as it came; the one behind it is handled (pitfalls 90b, 109, 116)", async ({
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

  test("handler fails: another attempt after each delay, at this subscriber only, then set aside in .dead (pitfalls 8, 44, 82, 92, 96, 116, 123)", async ({
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

  test("retried messages survive 10 turns, and a handler that succeeds at last ends it (pitfall 91)", async ({
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

  test("one of two subscribers' queues deleted under load is back, bound and consumed within 5 s (pitfalls 38, 49)", async ({
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

  test("where failures go is deleted under load: it is back, and no failed message is lost (pitfalls 88, 89)", async ({
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

  test("it waits for the notifier's exchange: connected, not ready, bound within 5 s of its appearance (pitfall 24)", async ({
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

  test("it may not declare its queue again after it was deleted: not ready, and back once it may (pitfalls 50, 115)", async ({
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

  test("misspelt options and absurd delays are refused, instead of being ignored (pitfall 93)", async ({
    vhost,
    cleanup,
  }) => {
    const billing = cleanup(await connect(vhost.url, { system, service: "billing" }));
    const misspelt = { retryDelayMs: [5] };
    await expect(billing.subscribe(orderPlaced, () => undefined, misspelt as object)).rejects.toThrow(
      "subscribe: unknown option retryDelayMs",
    );
    for (const options of [{ retryDelaysMs: [0] }, { retryDelaysMs: [Number.NaN] }, { concurrency: -1 }]) {
      await expect(billing.subscribe(orderPlaced, () => undefined, options)).rejects.toBeInstanceOf(UsageError);
    }
  });

  test("stop: what is in hand is finished, the rest waits for the next one", async ({ vhost, cleanup }) => {
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

  test("receiver is down, and the broker is killed meanwhile: all of it waits, in order (pitfalls 30, 60)", async ({
    ownBroker,
    cleanup,
  }) => {
    await using vhost = await createVirtualHost(ownBroker);
    const till = cleanup(await connect(vhost.url, { system, service: "till" }));
    await Promise.all(numbers(1, 1_000).map((pieces) => till.notify(orderPlaced, order(pieces))));
    await ownBroker.kill();
    await ownBroker.start();
    await till.notify(orderPlaced, order(1_001), { timeoutMs: 45_000 });
    const billing = cleanup(await connect(vhost.url, { system, service: "billing" }));
    const handled: number[] = [];
    await billing.subscribe(orderPlaced, ({ pieces }) => handled.push(pieces));
    await expect.poll(() => handled.at(-1)).toBe(1_001);
    expect(handled).toEqual(numbers(1, 1_001));
    await billing.close();
    await till.close();
  });

  test("broker restarts: nothing confirmed is lost, and both sides come back by themselves (pitfall 31)", async ({
    ownBroker,
    cleanup,
  }) => {
    const till = cleanup(await connect(ownBroker.url, { system, service: "till" }));
    const billing = cleanup(await connect(ownBroker.url, { system, service: "billing" }));
    const effects = new Set<string>();
    const order1 = order(1);
    await billing.subscribe(orderPlaced, (_, { messageId = "" }) => void effects.add(messageId));
    const confirmed = new Set<string>();
    const failures = new Set<string>();
    const over = new AbortController();
    const tell = async (teller: number): Promise<void> => {
      for (let count = 0; !over.signal.aborted; count++) {
        const messageId = `${teller}-${count}`;
        // A careful caller repeats it under the same id
        for (let isConfirmed = false; !isConfirmed;) {
          try {
            await till.notify(orderPlaced, order1, { messageId, timeoutMs: 2_000 });
            isConfirmed = true;
          } catch (error) {
            if (!(error instanceof PublishError || error instanceof ConnectionError)) throw error;
            failures.add(error.code);
          }
        }
        confirmed.add(messageId);
      }
    };
    const telling = Promise.all(numbers(1, 20).map(tell));
    await expect.poll(() => confirmed.size).toBeGreaterThan(200);
    await ownBroker.kill();
    await ownBroker.start();
    const before = confirmed.size;
    await expect.poll(() => confirmed.size, { timeout: 45_000 }).toBeGreaterThan(before + 200);
    over.abort();
    await telling;
    await expect.poll(() => [...confirmed].filter((messageId) => !effects.has(messageId))).toEqual([]);
    expect([...failures]).not.toEqual([]);
  });
});

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
    "what is notified while amqplib closes the %s waits, within its time limit, for the next one (pitfall 7a)",
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

  test("no queue takes it: rejects, certainly not executed; within 5 s the queues are back (pitfall 38)", async ({
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

  test("the sender is held back by the broker's alarm, and goes on when it is over (pitfall 42)", async ({
    ownBroker,
    cleanup,
  }) => {
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

describe("notify, on the wire", () => {
  test("exchanges, queues, bindings and message are those of the wire table (pitfalls 21, 30)", async ({
    vhost,
    cleanup,
  }) => {
    const till = cleanup(await connect(vhost.url, { system, service: "till" }));
    const plain = { type: "classic", durable: true, auto_delete: false, exclusive: false };
    const queues = await vhost.management.queues(vhost.name);
    // The others are the till's own, for replies
    expect(queues.filter(({ name }) => !name.startsWith("amq.gen-"))).toMatchObject([
      { name: "order.placed.billing", ...plain },
      { name: "order.placed.shipping", ...plain },
    ]);
    expect(await vhost.management.exchanges(vhost.name)).toMatchObject([
      { name: "order.placed", type: "fanout", durable: true, auto_delete: false, arguments: {} },
    ]);

    const billing = cleanup(await connect(vhost.url, { system, service: "billing" }));
    await billing.subscribe(orderPlaced, () => undefined, { retryDelaysMs: [5_000] });
    await vhost.management.deleteQueue(vhost.name, "order.placed.shipping");
    const failed = "order.placed.billing.failed";
    const exchanges = await vhost.management.exchanges(vhost.name);
    expect(exchanges.find(({ name }) => name === failed)).toMatchObject({
      type: "direct",
      durable: true,
      arguments: {},
    });
    expect(await vhost.management.queue(vhost.name, "order.placed.billing.delay.5000")).toMatchObject({
      type: "quorum",
      arguments: {
        "x-queue-type": "quorum",
        "x-message-ttl": 5_000,
        "x-dead-letter-exchange": failed,
        "x-dead-letter-routing-key": "again",
        "x-dead-letter-strategy": "at-least-once",
        "x-overflow": "reject-publish",
      },
    });
    const bound = (await vhost.management.bindings(vhost.name))
      .filter(({ source }) => source === failed)
      .map(({ destination, routing_key }) => `${routing_key} → ${destination}`);
    expect(bound.toSorted((a, b) => a.localeCompare(b))).toEqual([
      "again → order.placed.billing",
      "order.placed.billing.dead → order.placed.billing.dead",
      "order.placed.billing.delay.5000 → order.placed.billing.delay.5000",
    ]);

    await expect
      .poll(() => vhost.management.consumers(vhost.name))
      .toContainEqual(
        expect.objectContaining({
          queue: expect.objectContaining({ name: "order.placed.billing" }),
          ack_required: true,
          prefetch_count: 1,
        }),
      );

    const messages: unknown[] = [];
    const onMessage = ({ fields, properties, content }: Parameters<Parameters<typeof bareSubscriber>[3]>[0]): void =>
      void messages.push({ fields, properties, text: content.toString() });
    cleanup(await bareSubscriber(vhost.url, "order.placed", "shipping", onMessage));
    await till.notify(orderPlaced, order(2));
    await expect
      .poll(() => messages)
      .toMatchObject([
        {
          fields: { exchange: "order.placed", routingKey: "" },
          properties: {
            contentType: "application/json",
            deliveryMode: 2,
            type: "order.placed",
            appId: "till",
            messageId: expect.stringMatching(/^[0-9a-f-]{36}$/),
            timestamp: expect.closeTo(Date.now() / 1_000, -1),
          },
          text: '{"orderId":"order-2","article":"lamp","pieces":2}',
        },
      ]);
  });

  test("another exchange or queue of the name fails connect, naming both sides' flags", async ({ vhost }) => {
    await vhost.management.declareExchange(vhost.name, "order.placed", { type: "direct" });
    await expect(connect(vhost.url, { system, service: "till" })).rejects.toMatchObject({
      code: "AMQP_KIT_TOPOLOGY",
      retryable: false,
      message: expect.stringContaining("the broker has type 'direct', this service declares 'fanout'"),
    });
    await vhost.management.deleteExchange(vhost.name, "order.placed");
    const limited = { durable: true, arguments: { "x-max-length": 5 } };
    await vhost.management.declareQueue(vhost.name, "order.placed.billing", limited);
    for (const service of ["till", "billing"] as const) {
      await expect(connect(vhost.url, { system, service })).rejects.toMatchObject({
        code: "AMQP_KIT_TOPOLOGY",
        message: expect.stringMatching(
          /queue "order\.placed\.billing" \(durable\).*the broker has x-max-length the value '5'.*this service declares none/s,
        ),
      });
    }
  });
});
