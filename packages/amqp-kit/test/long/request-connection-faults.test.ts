import { startProxy } from "@amqp-idioms/local-servers";
import { test } from "@amqp-idioms/local-servers/vitest";
import { describe, expect } from "vitest";
import { connect, ConnectionError } from "../../src/index.ts";
import { double, failure, lamps, numbers, type Quote, type QuoteRequest } from "../asking.ts";
import { quote, system } from "../contracts.ts";
import { bareResponder } from "../peers/bare-request-response.ts";

describe("broker restarts or the connection drops: callers waiting get a clear, retryable error or their answer", () => {
  test("connections closed by an operator under 100 pending requests (pitfall 14)", async ({ vhost, cleanup }) => {
    const warehouse = cleanup(await connect(vhost.url, { system, service: "warehouse" }));
    const till = cleanup(await connect(vhost.url, { system, service: "till" }));
    const gate = Promise.withResolvers<void>();
    let begun = 0;
    const atWork = async (request: QuoteRequest): Promise<Quote> => {
      begun++;
      await gate.promise;
      return double(request);
    };
    await warehouse.respond(quote, atWork, { concurrency: 100 });
    const asked = numbers(1, 100).map((pieces) => failure(till.request(quote, lamps(pieces), { timeoutMs: 10_000 })));
    await expect.poll(() => begun).toBe(100);
    await expect.poll(async () => (await vhost.management.connections(vhost.name)).length).toBeGreaterThanOrEqual(3);
    await vhost.management.closeConnections(vhost.name);
    for (const { error } of await Promise.all(asked)) {
      expect(error).toBeInstanceOf(ConnectionError);
      expect(error).toMatchObject({ retryable: true, outcome: "unknown" });
    }
    gate.resolve();
    await expect
      .poll(() => failure(till.request(quote, lamps(3))))
      .toMatchObject({
        error: { message: 'answered {"article":"lamp","cents":6}' },
      });
  });

  test("the only responder consumes its queue again each time its link is cut, 3 times (pitfall 20)", async ({
    vhost,
    cleanup,
  }) => {
    const proxy = cleanup(await startProxy(vhost.url));
    const warehouse = cleanup(await connect(proxy.url, { system, service: "warehouse" }));
    await warehouse.respond(quote, double);
    const till = cleanup(await connect(vhost.url, { system, service: "till" }));
    for (const round of numbers(1, 3)) {
      await expect
        .poll(() => failure(till.request(quote, lamps(round))), { timeout: 30_000 })
        .toMatchObject({
          error: { message: `answered {"article":"lamp","cents":${round * 2}}` },
        });
      proxy.cut();
    }
  });

  test("the requester declares a new reply queue and gets answers again each time its link is cut, 3 times (pitfall 23)", async ({
    vhost,
    cleanup,
  }) => {
    const seen: string[] = [];
    cleanup(
      await bareResponder(vhost.url, "shop", "quote", ({ content, properties }) => {
        seen.push(properties.replyTo);
        return { body: JSON.stringify(double(JSON.parse(content.toString()))) };
      }),
    );
    const proxy = cleanup(await startProxy(vhost.url));
    const till = cleanup(await connect(proxy.url, { system, service: "till" }));
    for (const round of numbers(0, 3)) {
      await expect
        .poll(() => failure(till.request(quote, lamps(round + 1))))
        .toMatchObject({
          error: { message: expect.stringContaining("answered {") },
        });
      expect(new Set(seen).size).toBe(round + 1);
      if (round < 3) proxy.cut();
    }
  });

  test("each of 200 requests gets an answer or an immediate error when the requester's links are cut under load, then answers again", async ({
    vhost,
    cleanup,
  }) => {
    const warehouse = cleanup(await connect(vhost.url, { system, service: "warehouse" }));
    await warehouse.respond(quote, double);
    const proxy = cleanup(await startProxy(vhost.url));
    const till = cleanup(await connect(proxy.url, { system, service: "till" }));
    await till.request(quote, lamps(1));
    const asked = numbers(1, 200).map((pieces) => failure(till.request(quote, lamps(pieces), { timeoutMs: 30_000 })));
    await Promise.race(asked);
    proxy.cut();
    const outcomes = await Promise.all(asked);
    for (const { error } of outcomes) {
      const isAnswer = error instanceof Error && error.message.startsWith("answered");
      expect(isAnswer || error instanceof ConnectionError).toBe(true);
    }
    await expect
      .poll(() => failure(till.request(quote, lamps(3))))
      .toMatchObject({
        error: { message: 'answered {"article":"lamp","cents":6}' },
      });
  });
});
