import { startProxy } from "@amqp-idioms/local-servers";
import { test } from "@amqp-idioms/local-servers/vitest";
import { describe, expect } from "vitest";
import { connect } from "../../src/index.ts";
import { prices, system } from "../contracts.ts";
import { bareListener } from "../peers/bare-broadcast.ts";
import { withoutQueue } from "../without-queue.ts";
import { lamp } from "../broadcasting.ts";

describe("broadcast, on the wire", () => {
  test("exchange, queue and message are those of the wire table", async ({ vhost, cleanup }) => {
    const market = cleanup(await connect(vhost.url, { system, service: "market" }));
    const board = cleanup(await connect(vhost.url, { system, service: "board" }));
    await board.listen(prices, () => undefined, { maxBuffered: 7 });
    const exchange = { name: "prices", type: "fanout", durable: false, auto_delete: true, internal: false };
    expect(await vhost.management.exchanges(vhost.name)).toMatchObject([{ ...exchange, arguments: {} }]);
    const queues = await vhost.management.queues(vhost.name);
    const exclusive = { name: expect.stringMatching(/^amq\.gen-/), exclusive: true, durable: false };
    expect(queues.find(({ auto_delete }) => auto_delete)).toMatchObject({
      ...exclusive,
      arguments: { "x-max-length": 7 },
    });
    // The sender's, which holds the exchange and keeps nothing
    expect(queues.find(({ auto_delete }) => !auto_delete)).toMatchObject({
      ...exclusive,
      arguments: { "x-max-length": 0 },
    });
    await expect.poll(() => vhost.management.consumers(vhost.name)).toMatchObject([{ ack_required: false }]);

    const messages: unknown[] = [];
    cleanup(
      await bareListener(vhost.url, "prices", ({ fields, properties, content }) =>
        messages.push({ fields, properties, text: content.toString() }),
      ),
    );
    const now = Date.now() / 1_000;
    await market.broadcast(prices, lamp(1999));
    await expect
      .poll(() => messages)
      .toMatchObject([
        {
          fields: { exchange: "prices", routingKey: "" },
          properties: {
            contentType: "application/json",
            deliveryMode: 1,
            type: "prices",
            appId: "market",
            messageId: expect.stringMatching(/^[0-9a-f-]{36}$/),
            timestamp: expect.closeTo(now, -1),
          },
          text: '{"article":"lamp","cents":1999}',
        },
      ]);
  });

  test("a listener's delivery says who sent it, when, under which id", async ({ vhost, cleanup }) => {
    const market = cleanup(await connect(vhost.url, { system, service: "market" }));
    const board = cleanup(await connect(vhost.url, { system, service: "board" }));
    const deliveries: unknown[] = [];
    await board.listen(prices, (_, delivery) => deliveries.push(delivery));
    await market.broadcast(prices, lamp(1));
    await expect
      .poll(() => deliveries)
      .toMatchObject([
        {
          appId: "market",
          messageId: expect.any(String),
          sentAt: expect.any(Date),
          attempt: 1,
          redelivered: false,
          signal: { aborted: false },
        },
      ]);
  });

  test("a listener whose queue is silently deleted has another within 5 s (pitfall 78)", async ({ vhost, cleanup }) => {
    const proxy = cleanup(await startProxy(vhost.url));
    const market = cleanup(await connect(vhost.url, { system, service: "market" }));
    const board = cleanup(await connect(proxy.url, { system, service: "board" }));
    const heard: number[] = [];
    await board.listen(prices, ({ cents }) => heard.push(cents));
    const queueOf = async (): Promise<string | undefined> =>
      (await vhost.management.consumers(vhost.name)).find(({ queue }) => queue.name.startsWith("amq.gen-"))?.queue.name;
    await expect.poll(queueOf).toBeDefined();
    const first = await queueOf();
    proxy.filter(withoutQueue(first ?? ""));
    const before = performance.now();
    await expect.poll(queueOf).not.toBe(first);
    await expect.poll(queueOf).toBeDefined();
    expect(performance.now() - before).toBeLessThan(9_000);
    await market.broadcast(prices, lamp(1));
    await expect.poll(() => heard).toEqual([1]);
  });

  test("a deleted exchange is bound to the listener again within 5 s (pitfall 78)", async ({ vhost, cleanup }) => {
    const market = cleanup(await connect(vhost.url, { system, service: "market" }));
    const board = cleanup(await connect(vhost.url, { system, service: "board" }));
    const heard: number[] = [];
    await board.listen(prices, ({ cents }) => heard.push(cents));
    await vhost.management.deleteExchange(vhost.name, "prices");
    const before = performance.now();
    await expect.poll(async () => (await market.broadcast(prices, lamp(1)), heard.length)).toBeGreaterThan(0);
    expect(performance.now() - before).toBeLessThan(6_000);
  });

  test.for([
    { declared: { type: "direct", durable: false, auto_delete: true }, difference: ["type", "'direct'", "'fanout'"] },
    { declared: { type: "fanout", durable: true, auto_delete: true }, difference: ["durable", "'true'", "'false'"] },
    {
      declared: { type: "fanout", durable: false, auto_delete: false },
      difference: ["auto_delete", "'false'", "'true'"],
    },
  ])(
    "an exchange with another $difference.0 fails connect, naming both sides' flags (pitfall 80)",
    async ({ declared, difference: [flag, theirs, ours] }, { vhost }) => {
      await vhost.management.declareExchange(vhost.name, "prices", declared);
      for (const service of ["market", "board"] as const) {
        await expect(connect(vhost.url, { system, service })).rejects.toMatchObject({
          code: "AMQP_KIT_TOPOLOGY",
          message: expect.stringContaining(`the broker has ${flag} ${theirs}, this service declares ${ours}`),
        });
      }
    },
  );
});
