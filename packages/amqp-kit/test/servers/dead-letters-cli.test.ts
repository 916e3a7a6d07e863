import { test } from "@amqp-idioms/local-servers/vitest";
import { describe, expect } from "vitest";
import { amqpKit } from "../operator.ts";
import { bareDeadLetters } from "../peers/bare-dead-letters.ts";
import { bareNotifier } from "../peers/bare-notify.ts";
import { queue, dead, json, leaveDead } from "../dead-letters-command.ts";

describe("amqp-kit dead", () => {
  test("list counts each queue of the system, groups by reason, service and error, and shows no values", async ({
    vhost,
    cleanup,
  }) => {
    await leaveDead(vhost, cleanup);
    const { code, out, errors } = await amqpKit(vhost.url, "dead", "list");
    expect({ code, errors }).toEqual({ code: 0, errors: "" });
    const time = /\d{4}-\d\d-\d\dT[\d:.]+Z/g;
    expect(out.replaceAll(time, "TIME")).toBe(
      `${dead}: 3 messages
  2 × handler_failed, billing: RangeError
      from TIME to TIME
  1 × invalid_message, billing: InvalidMessageError: Message of "order.placed" is not valid: its body is not UTF-8.
      at TIME
order.placed.shipping.dead: does not exist
`,
    );
    const objects = json((await amqpKit(vhost.url, "dead", "list", "--json")).out);
    const failed = { reason: "handler_failed", service: "billing", error: "RangeError", messages: 2 };
    expect(objects).toMatchObject([
      { queue: dead, messages: 3, groups: [failed, { reason: "invalid_message", messages: 1 }] },
      { queue: "order.placed.shipping.dead", messages: null, groups: [] },
    ]);
    expect((await amqpKit(vhost.url, "dead", "list", "order.placed.shipping.dead")).out).not.toContain("billing");
  });

  test("requeue sends back to the one subscriber, under the same id, without what a broker acts upon (pitfalls 90b, 92)", async ({
    vhost,
    broker,
    cleanup,
  }) => {
    const billing = cleanup(await bareDeadLetters(vhost.url, queue));
    const shipping = cleanup(await bareDeadLetters(vhost.url, "order.placed.shipping"));
    // Where a notification would go to both
    cleanup(await bareNotifier(vhost.url, "order.placed", ["billing", "shipping"]));
    const { username } = new URL(broker.url);
    const headers = {
      CC: [dead],
      "x-mine": 1,
      "amqp-kit-attempt": 6,
      "amqp-kit-error": "Error",
      "idempotency-key": "k",
    };
    const properties = { type: "order.placed", appId: "till", correlationId: "c", replyTo: "r", priority: 3 };
    const dangers = { expiration: "600000", userId: decodeURIComponent(username) };
    await billing.setAside([{ body: "1", messageId: "one", headers, ...properties, ...dangers }]);
    const { code, out } = await amqpKit(vhost.url, "dead", "requeue", dead);
    expect({ code, out }).toEqual({ code: 0, out: `${dead}: 1 of 1 message requeued to ${queue}\n` });
    const [message, ...others] = await billing.drain(queue);
    expect(others).toEqual([]);
    expect(message?.content.toString()).toBe("1");
    expect(message?.properties).toMatchObject({ messageId: "one", deliveryMode: 2, ...properties });
    expect(message?.properties.headers).toEqual({ "idempotency-key": "k" });
    expect([message?.properties.expiration, message?.properties.userId]).toEqual([undefined, undefined]);
    expect([await billing.count(dead), await shipping.count("order.placed.shipping")]).toEqual([0, 0]);
  });
});
