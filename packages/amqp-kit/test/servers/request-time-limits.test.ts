import { setTimeout as sleep } from "node:timers/promises";
import { startProxy } from "@amqp-idioms/local-servers";
import { test } from "@amqp-idioms/local-servers/vitest";
import { describe, expect } from "vitest";
import {
  ClosedError,
  connect,
  ConnectionError,
  NoResponderError,
  RequestTimeoutError,
  TooManyRequestsError,
} from "../../src/index.ts";
import { double, failure, lamps, numbers, type Quote, type QuoteRequest } from "../asking.ts";
import { quote, system } from "../contracts.ts";
import { bareTopology } from "../peers/bare-request-response.ts";

describe("receiver is down: the caller gets an error or a timeout, and the abandoned request expires unexecuted", () => {
  test("a responder that starts after the time limit does not find it", async ({ vhost, cleanup }) => {
    const { channel } = cleanup(await bareTopology(vhost.url, "shop", "quote"));
    const till = cleanup(await connect(vhost.url, { system, service: "till" }));
    const { error } = await failure(till.request(quote, { article: "abandoned", pieces: 1 }, { timeoutMs: 700 }));
    expect(error).toBeInstanceOf(NoResponderError);
    await expect.poll(async () => (await channel.checkQueue("quote")).messageCount).toBe(0);
    const begun: string[] = [];
    const warehouse = cleanup(await connect(vhost.url, { system, service: "warehouse" }));
    await warehouse.respond(quote, (request) => {
      begun.push(request.article);
      return double(request);
    });
    await till.request(quote, lamps(1));
    expect(begun).toEqual(["lamp"]);
  });

  test("a request whose time limit passed in the queue is never begun (pitfall 69)", async ({ vhost, cleanup }) => {
    const { channel } = cleanup(await bareTopology(vhost.url, "shop", "quote"));
    const warehouse = cleanup(await connect(vhost.url, { system, service: "warehouse" }));
    const till = cleanup(await connect(vhost.url, { system, service: "till" }));
    const begun: string[] = [];
    const gate = Promise.withResolvers<void>();
    const atWork = async (request: QuoteRequest): Promise<Quote> => {
      begun.push(request.article);
      await gate.promise;
      return double(request);
    };
    await warehouse.respond(quote, atWork, { concurrency: 1 });
    const first = till.request(quote, { article: "first", pieces: 1 });
    await expect.poll(() => begun).toEqual(["first"]);
    const { error, ms } = await failure(till.request(quote, { article: "late", pieces: 1 }, { timeoutMs: 300 }));
    expect(error).toBeInstanceOf(RequestTimeoutError);
    expect(error).toMatchObject({ contract: "quote", timeoutMs: 300, outcome: "unknown", retryable: true });
    expect(error).toMatchObject({ message: expect.stringMatching(/^No answer to "quote" within 300 ms\./) });
    expect(ms).toBeGreaterThan(280);
    // The broker counts from when it read the request, which is later on a busy machine
    await expect.poll(async () => (await channel.checkQueue("quote")).messageCount).toBe(0);
    gate.resolve();
    await first;
    await till.request(quote, { article: "marker", pieces: 1 });
    expect(begun).toEqual(["first", "marker"]);
  });
});

describe("broker restarts or the connection drops: callers waiting get a clear, retryable error or their answer", () => {
  test("without a connection, an error comes within the caller's limit, and nothing was executed (pitfall 4)", async ({
    vhost,
    cleanup,
  }) => {
    const proxy = cleanup(await startProxy(vhost.url));
    const till = cleanup(await connect(proxy.url, { system, service: "till", closeTimeoutMs: 1_000 }));
    proxy.refuse();
    proxy.cut();
    await expect.poll(() => till.isReady).toBe(false);
    const { error, ms } = await failure(till.request(quote, lamps(1), { timeoutMs: 300 }));
    expect(error).toBeInstanceOf(ConnectionError);
    expect(error).toMatchObject({ retryable: true, outcome: "not-executed" });
    expect(ms).toBeLessThan(1_000);
  });

  test("close ends pending requests with an error whose outcome is unknown", async ({ vhost, cleanup }) => {
    const warehouse = cleanup(await connect(vhost.url, { system, service: "warehouse", closeTimeoutMs: 500 }));
    const gate = Promise.withResolvers<Quote>();
    await warehouse.respond(quote, () => gate.promise);
    const till = await connect(vhost.url, { system, service: "till", closeTimeoutMs: 1_000 });
    const asked = failure(till.request(quote, lamps(1), { timeoutMs: 30_000 }));
    await sleep(100);
    const startedAt = performance.now();
    await till.close();
    expect(performance.now() - startedAt).toBeLessThan(1_500);
    expect((await asked).error).toBeInstanceOf(ClosedError);
    expect((await asked).error).toMatchObject({ outcome: "unknown" });
    await expect(till.request(quote, lamps(1))).rejects.toThrow(ClosedError);
    gate.resolve(double(lamps(1)));
  });
});

describe("receiver too slow: concurrency is bounded, requests expire", () => {
  test.for([
    { concurrency: 10, options: {} },
    { concurrency: 3, options: { concurrency: 3 } },
  ])(
    "no more than $concurrency requests are handled at a time; the others wait in the queue",
    async ({ concurrency, options }, { vhost, cleanup }) => {
      const warehouse = cleanup(await connect(vhost.url, { system, service: "warehouse" }));
      let atWork = 0;
      let most = 0;
      const gate = Promise.withResolvers<void>();
      await warehouse.respond(
        quote,
        async (request) => {
          most = Math.max(most, ++atWork);
          await gate.promise;
          atWork--;
          return double(request);
        },
        options,
      );
      const till = cleanup(await connect(vhost.url, { system, service: "till" }));
      const asked = numbers(1, 40).map((pieces) => till.request(quote, lamps(pieces)));
      const { channel } = cleanup(await bareTopology(vhost.url, "shop"));
      await expect.poll(async () => (await channel.checkQueue("quote")).messageCount).toBe(40 - concurrency);
      // Handed out, some may be on their way
      await expect.poll(() => atWork).toBe(concurrency);
      gate.resolve();
      await Promise.all(asked);
      expect(most).toBe(concurrency);
    },
  );

  test("a handler's signal aborts at the request's time limit, so that it can stop", async ({ vhost, cleanup }) => {
    const warehouse = cleanup(await connect(vhost.url, { system, service: "warehouse" }));
    const stopped = Promise.withResolvers<string>();
    await warehouse.respond(quote, (request, { signal }) => {
      signal.addEventListener("abort", () => stopped.resolve(String(signal.reason)));
      return stopped.promise.then(() => double(request));
    });
    const till = cleanup(await connect(vhost.url, { system, service: "till" }));
    await expect(till.request(quote, lamps(1), { timeoutMs: 300 })).rejects.toThrow(RequestTimeoutError);
    expect(await stopped.promise).toContain("time limit");
  });

  test("a caller that immediately repeats refused requests, with 1,000 pending, does not block the answers (pitfall 7a)", async ({
    vhost,
    cleanup,
  }) => {
    const warehouse = cleanup(await connect(vhost.url, { system, service: "warehouse" }));
    await warehouse.respond(quote, double);
    const till = cleanup(await connect(vhost.url, { system, service: "till" }));
    const asked = numbers(1, 1_000).map((pieces) => till.request(quote, lamps(pieces)));
    let refused = 0;
    const ask = (): Promise<boolean> =>
      till.request(quote, lamps(1)).then(
        () => true,
        () => refused++ > 100_000,
      );
    while (!(await ask()));
    await Promise.all(asked);
    expect(refused).toBeGreaterThan(0);
    expect(refused).toBeLessThan(100_000);
  });

  test("with 1,000 requests pending in a process, the next is refused immediately", async ({ vhost, cleanup }) => {
    const warehouse = cleanup(await connect(vhost.url, { system, service: "warehouse" }));
    const gate = Promise.withResolvers<void>();
    await warehouse.respond(quote, (request) => gate.promise.then(() => double(request)));
    const till = cleanup(await connect(vhost.url, { system, service: "till" }));
    const asked = numbers(1, 1_000).map((pieces) => till.request(quote, lamps(pieces), { timeoutMs: 20_000 }));
    const { error, ms } = await failure(till.request(quote, lamps(1)));
    expect(error).toBeInstanceOf(TooManyRequestsError);
    expect(error).toMatchObject({ maxPending: 1_000, outcome: "not-executed", retryable: true });
    // It waited neither for a place, since the gate is still closed, nor for its time limit
    expect(ms).toBeLessThan(quote.timeoutMs / 2);
    gate.resolve();
    expect((await Promise.all(asked)).map(({ cents }) => cents)).toEqual(numbers(1, 1_000).map((n) => n * 2));
    expect(await till.request(quote, lamps(1))).toEqual({ article: "lamp", cents: 2 });
  });
});
