/** What each idiom promises when its broker is killed and started again. One private broker serves all of it. */
import { test } from "@amqp-idioms/local-servers/vitest";
import { describe, expect } from "vitest";
import { connect, ConnectionError, PublishError } from "../../src/index.ts";
import { orderPlaced, prices, quote, system } from "../contracts.ts";
import { lamp } from "../broadcasting.ts";
import { createVirtualHost } from "@amqp-idioms/local-servers";
import { order } from "../notifying.ts";
import { double, failure, lamps, numbers } from "../asking.ts";

describe("broadcast, from a sender", () => {
  test("the broker restarts: both sides reconnect by themselves", async ({ ownBroker, cleanup }) => {
    const market = cleanup(await connect(ownBroker.url, { system, service: "market" }));
    const board = cleanup(await connect(ownBroker.url, { system, service: "board" }));
    const heard: number[] = [];
    await board.listen(prices, ({ cents }) => heard.push(cents));
    await market.broadcast(prices, lamp(1));
    await expect.poll(() => heard).toEqual([1]);
    await ownBroker.kill();
    await expect.poll(() => [market.isReady, board.isReady]).toEqual([false, false]);
    await market.broadcast(prices, lamp(2));
    await ownBroker.start();
    await expect.poll(() => [market.isReady, board.isReady], { timeout: 45_000 }).toEqual([true, true]);
    await market.broadcast(prices, lamp(3));
    await expect.poll(() => heard).toEqual([1, 3]);
  });
});

describe("notify, to a subscriber", () => {
  test("receiver is down while the broker is killed: everything waits, in order (pitfalls 30, 60)", async ({
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

  test("broker restarts: nothing confirmed is lost, and both sides reconnect by themselves (pitfall 31)", async ({
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

describe("broker restarts or the connection drops: callers waiting get a clear, retryable error or their answer", () => {
  test("the broker killed under 50 pending requests, and started again (pitfall 14)", async ({
    ownBroker,
    cleanup,
  }) => {
    const warehouse = cleanup(await connect(ownBroker.url, { system, service: "warehouse", closeTimeoutMs: 1_000 }));
    const till = cleanup(await connect(ownBroker.url, { system, service: "till", closeTimeoutMs: 1_000 }));
    const begun = Promise.withResolvers<void>();
    const gate = Promise.withResolvers<void>();
    await warehouse.respond(quote, async (request) => {
      begun.resolve();
      await gate.promise;
      return double(request);
    });
    const asked = numbers(1, 50).map((pieces) => failure(till.request(quote, lamps(pieces), { timeoutMs: 30_000 })));
    await begun.promise;
    await ownBroker.kill();
    for (const { error } of await Promise.all(asked)) {
      expect(error).toBeInstanceOf(ConnectionError);
      expect(error).toMatchObject({ retryable: true, outcome: "unknown" });
    }
    gate.resolve();
    await ownBroker.start();
    await expect
      .poll(() => failure(till.request(quote, lamps(3))), { timeout: 45_000 })
      .toMatchObject({
        error: { message: 'answered {"article":"lamp","cents":6}' },
      });
  });
});
