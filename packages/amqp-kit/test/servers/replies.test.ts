import { basename } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { amqpMethods, startProxy } from "@amqp-idioms/local-servers";
import { test } from "@amqp-idioms/local-servers/vitest";
import { describe, expect } from "vitest";
import {
  connect,
  InvalidMessageError,
  MessageTooLargeError,
  NoResponderError,
  OperationError,
  RequestTimeoutError,
  UsageError,
  type RequestOptions,
} from "../../src/index.ts";
import { double, failure, lamps, numbers, openShop, restock, archive, type QuoteRequest } from "../asking.ts";
import { quote, system } from "../contracts.ts";
import { bareResponder } from "../peers/bare-request-response.ts";
import { recordEvents } from "../recording.ts";
import { withoutQueue } from "../without-queue.ts";

describe("an answer finds its own caller", () => {
  test("1,000 concurrent requests each get their own, even if it overtakes the confirm", async ({ vhost, cleanup }) => {
    const warehouse = cleanup(await connect(vhost.url, { system, service: "warehouse" }));
    await warehouse.respond(quote, double, { concurrency: 100 });
    const proxy = cleanup(await startProxy(vhost.url));
    const till = cleanup(await connect(proxy.url, { system, service: "till" }));
    let held = 0;
    proxy.filter(({ method }, direction) => {
      if (method !== amqpMethods.basicAck || direction !== "to-client") return "pass";
      held++;
      return "hold";
    });
    const asked = numbers(1, 1_000);
    const answers = await Promise.all(asked.map((pieces) => till.request(quote, lamps(pieces), { timeoutMs: 20_000 })));
    expect(answers.map(({ cents }) => cents)).toEqual(asked.map((pieces) => pieces * 2));
    expect(held).toBeGreaterThan(0);
    proxy.filter(undefined);
    proxy.release();
    expect(await till.request(quote, lamps(1))).toEqual({ article: "lamp", cents: 2 });
  });

  test("with one reply queue for all of a process' requests (pitfall 74)", async ({ vhost, cleanup }) => {
    const replyQueues = new Set<string>();
    cleanup(
      await bareResponder(vhost.url, "shop", "quote", ({ content, properties }) => {
        replyQueues.add(properties.replyTo);
        return { body: JSON.stringify(double(JSON.parse(content.toString()))) };
      }),
    );
    const till = cleanup(await connect(vhost.url, { system, service: "till" }));
    await Promise.all(numbers(1, 500).map((pieces) => till.request(quote, lamps(pieces))));
    expect(replyQueues.size).toBe(1);
    expect([...replyQueues][0]).toMatch(/^amq\.gen-/);
  });

  test("pending requests whose reply queue is deleted end with an error within 5 s, and the next is answered on a new one (pitfall 73)", async ({
    vhost,
    cleanup,
  }) => {
    const replyQueues: string[] = [];
    cleanup(
      await bareResponder(vhost.url, "shop", "quote", ({ content, properties }) => {
        replyQueues.push(properties.replyTo);
        const request: QuoteRequest = JSON.parse(content.toString());
        return request.pieces === 1 ? undefined : { body: JSON.stringify(double(request)) };
      }),
    );
    const proxy = cleanup(await startProxy(vhost.url));
    const till = cleanup(await connect(proxy.url, { system, service: "till" }));
    const pending = numbers(1, 20).map(() => failure(till.request(quote, lamps(1), { timeoutMs: 30_000 })));
    await expect.poll(() => replyQueues).toHaveLength(20);
    proxy.filter(withoutQueue(replyQueues[0] ?? ""));
    for (const { error, ms } of await Promise.all(pending)) {
      expect(error).toMatchObject({ code: "AMQP_KIT_CONNECTION", retryable: true, outcome: "unknown" });
      expect(ms).toBeLessThan(9_000);
    }
    expect(await till.request(quote, lamps(2))).toEqual({ article: "lamp", cents: 4 });
    expect(new Set(replyQueues).size).toBe(2);
  });

  test("a late, doubled or foreign reply is ignored and counted (pitfall 68)", async ({ vhost, cleanup }) => {
    using ignored = recordEvents("reply-ignored");
    const late = Promise.withResolvers<() => void>();
    const responder: Awaited<ReturnType<typeof bareResponder>> = cleanup(
      await bareResponder(vhost.url, "shop", "quote", (request) => {
        const { article, pieces }: QuoteRequest = JSON.parse(request.content.toString());
        const body = JSON.stringify({ article, cents: pieces });
        if (article === "late") {
          late.resolve(() => responder.reply(request, body));
          return undefined;
        }
        responder.reply(request, JSON.stringify({ article: "foreign", cents: 0 }), { correlationId: "foreign" });
        responder.channel.sendToQueue(request.properties.replyTo, Buffer.from(body));
        responder.reply(request, body);
        return { body: JSON.stringify({ article: "doubled", cents: 0 }) };
      }),
    );
    const till = cleanup(await connect(vhost.url, { system, service: "till" }));
    await expect(till.request(quote, { article: "late", pieces: 1 }, { timeoutMs: 200 })).rejects.toThrow(
      RequestTimeoutError,
    );
    (await late.promise)();
    await expect.poll(() => ignored.all).toEqual([{ service: "till" }]);
    expect(await till.request(quote, lamps(2))).toEqual({ article: "lamp", cents: 2 });
    expect(await till.request(quote, lamps(3))).toEqual({ article: "lamp", cents: 3 });
    await expect.poll(() => ignored.all.length).toBe(1 + 2 * 3);
  });

  test("of 1,000 concurrent requests, half without a responder, each return ends its own request only (pitfall 39)", async ({
    vhost,
    cleanup,
  }) => {
    const { till, warehouse } = await openShop(vhost.url, cleanup);
    await warehouse.respond(quote, double, { concurrency: 100 });
    const outcomes = await Promise.all(
      numbers(1, 1_000).map((n) =>
        failure(till.request(n % 2 === 0 ? quote : restock, lamps(n), { timeoutMs: 20_000 })),
      ),
    );
    for (const [index, { error }] of outcomes.entries()) {
      const n = index + 1;
      const isAnswered = error instanceof Error && error.message === `answered {"article":"lamp","cents":${n * 2}}`;
      expect(n % 2 === 0 ? isAnswered : error instanceof NoResponderError).toBe(true);
    }
  });

  test("a request that fails does not fail the 100 others pending in its process", async ({ vhost, cleanup }) => {
    const { till, warehouse } = await openShop(vhost.url, cleanup);
    const gate = Promise.withResolvers<void>();
    let begun = 0;
    await warehouse.respond(
      quote,
      async (request) => {
        begun++;
        await gate.promise;
        return double(request);
      },
      { concurrency: 200 },
    );
    const asked = numbers(1, 100).map((pieces) => till.request(quote, lamps(pieces), { timeoutMs: 20_000 }));
    await expect.poll(() => begun).toBe(100);
    // Unroutable; an exchange that is gone, which closes the channel; invalid; too large; too slow; given up
    await expect(till.request(restock, lamps(1))).rejects.toThrow(NoResponderError);
    await expect(till.request(archive, lamps(1))).rejects.toThrow(NoResponderError);
    await expect(till.request(quote, lamps(-1))).rejects.toThrow(InvalidMessageError);
    await expect(till.request(quote, { article: "x".repeat(2 ** 20), pieces: 1 })).rejects.toThrow(
      MessageTooLargeError,
    );
    await expect(till.request(quote, lamps(1), { timeoutMs: 50 })).rejects.toThrow(RequestTimeoutError);
    await expect(till.request(quote, lamps(1), { signal: AbortSignal.timeout(50) })).rejects.toThrow("timeout");
    gate.resolve();
    expect((await Promise.all(asked)).map(({ cents }) => cents)).toEqual(numbers(1, 100).map((n) => n * 2));
  });

  test("100 pending requests whose exchange is deleted are answered if they had been routed", async ({
    vhost,
    cleanup,
  }) => {
    const { till, warehouse } = await openShop(vhost.url, cleanup);
    const gate = Promise.withResolvers<void>();
    let begun = 0;
    await warehouse.respond(
      quote,
      async (request) => {
        begun++;
        await gate.promise;
        return double(request);
      },
      { concurrency: 100 },
    );
    const asked = numbers(1, 100).map((pieces) => till.request(quote, lamps(pieces), { timeoutMs: 20_000 }));
    await expect.poll(() => begun).toBe(100);
    await vhost.management.deleteExchange(vhost.name, "shop");
    const { error, ms } = await failure(till.request(quote, lamps(1)));
    expect(error).toBeInstanceOf(NoResponderError);
    expect(ms).toBeLessThan(500);
    gate.resolve();
    expect((await Promise.all(asked)).map(({ cents }) => cents)).toEqual(numbers(1, 100).map((n) => n * 2));
    // The responder looks after its exchange every 5 s
    await expect
      .poll(() => failure(till.request(quote, lamps(1))))
      .toMatchObject({
        error: { message: 'answered {"article":"lamp","cents":2}' },
      });
  });
});

describe("the caller", () => {
  test("ends the wait by its AbortSignal, with the signal's reason", async ({ vhost, cleanup }) => {
    using ignored = recordEvents("reply-ignored");
    const warehouse = cleanup(await connect(vhost.url, { system, service: "warehouse" }));
    const begun = Promise.withResolvers<void>();
    const gate = Promise.withResolvers<void>();
    await warehouse.respond(quote, async (request) => {
      begun.resolve();
      await gate.promise;
      return double(request);
    });
    const till = cleanup(await connect(vhost.url, { system, service: "till" }));
    const leaving = new AbortController();
    const asked = failure(till.request(quote, lamps(1), { signal: leaving.signal }));
    await begun.promise;
    const reason = new Error("the client went away");
    leaving.abort(reason);
    expect((await asked).error).toBe(reason);
    expect((await failure(till.request(quote, lamps(1), { signal: leaving.signal }))).error).toBe(reason);
    gate.resolve();
    await expect.poll(() => ignored.all).toHaveLength(1);
  });

  test("sees its own file in the stack of every error (pitfall 120)", async ({ vhost, cleanup }) => {
    const { till, warehouse } = await openShop(vhost.url, cleanup);
    await warehouse.respond(quote, async (request) => {
      if (request.article === "sold out") throw new OperationError(quote, "sold_out", { article: "lamp" });
      if (request.article === "slow") await sleep(500);
      throw new Error("internal");
    });
    const errors = [
      await failure(till.request(restock, lamps(1))),
      await failure(till.request(archive, lamps(1))),
      await failure(till.request(quote, lamps(-1))),
      await failure(till.request(quote, lamps(1))),
      await failure(till.request(quote, { article: "sold out", pieces: 1 })),
      await failure(till.request(quote, { article: "slow", pieces: 1 }, { timeoutMs: 100 })),
      await failure(till.request(quote, lamps(1), { timeoutMs: -5 })),
    ].map(({ error }) => (error instanceof Error ? error : new Error("no error")));
    for (const error of errors) {
      expect(error.stack).toContain(`${error.name}: ${error.message}`);
      expect(error.stack?.split("\n")[1]).toContain(basename(import.meta.filename));
    }
  });

  test.for([
    [{ timeoutMs: -5 }, "timeoutMs must be a whole number"],
    [{ timeoutMs: 0.5 }, "timeoutMs must be a whole number"],
    [{ timeoutMs: 2 ** 31 }, "timeoutMs must be a whole number"],
    [{ idempotencyKey: "" }, "idempotencyKey must be a string of 1 to 255 bytes"],
    [{ idempotencyKey: "é".repeat(128) }, "idempotencyKey must be a string of 1 to 255 bytes"],
    [{ timeout: 5 } as RequestOptions, "unknown option timeout"],
  ] as [RequestOptions, string][])(
    "cannot pass %j: it is refused before anything is sent (pitfall 46)",
    async ([options, message], { vhost, cleanup }) => {
      const till = cleanup(await connect(vhost.url, { system, service: "till" }));
      const { error } = await failure(till.request(quote, lamps(1), options));
      expect(error).toBeInstanceOf(UsageError);
      expect(error).toMatchObject({ message: expect.stringContaining(message) });
    },
  );

  test("gets an immediate error, from JavaScript, if it has no role or no such contract", async ({
    vhost,
    cleanup,
  }) => {
    const till = cleanup(await connect(vhost.url, { system, service: "till" }));
    await expect(till.request(restock as never, lamps(1) as never)).rejects.toThrow(
      'does not list "restock" under its role "requests"',
    );
    const warehouse = cleanup(await connect(vhost.url, { system, service: "warehouse" }));
    await expect(warehouse.respond(quote, "handler" as never)).rejects.toThrow(UsageError);
  });

  test("gets its answers without the delays of Nagle's algorithm, one request after the other", async ({
    vhost,
    cleanup,
  }) => {
    const warehouse = cleanup(await connect(vhost.url, { system, service: "warehouse" }));
    await warehouse.respond(quote, double);
    const till = cleanup(await connect(vhost.url, { system, service: "till" }));
    const article = "x".repeat(4_096);
    const times: number[] = [];
    for (const pieces of numbers(1, 300)) {
      const startedAt = performance.now();
      await till.request(quote, { article, pieces });
      times.push(performance.now() - startedAt);
    }
    // With Nagle's algorithm and delayed acknowledgements, the median would be 40 ms and more
    expect(times.toSorted((a, b) => a - b)[150]).toBeLessThan(25);
  });
});
