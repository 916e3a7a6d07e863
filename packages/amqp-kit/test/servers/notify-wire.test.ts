import { test } from "@amqp-idioms/local-servers/vitest";
import { describe, expect } from "vitest";
import { connect } from "../../src/index.ts";
import { orderPlaced, system } from "../contracts.ts";
import { bareSubscriber } from "../peers/bare-notify.ts";
import { order } from "../notifying.ts";

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

  test("a conflicting exchange or queue fails connect, and the error shows both sides' arguments", async ({
    vhost,
  }) => {
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
