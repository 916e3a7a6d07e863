/**
 * Arbitrary properties, headers and bodies on the wire, to everything that receives: nothing crashes, each message is accounted for as
 * the promise table says, and a good one afterwards is handled. `FUZZ_MS` says for how long at each receiver, `FUZZ_SEED` repeats a run.
 */
import { test } from "@amqp-idioms/local-servers/vitest";
import { sample } from "fast-check";
import { describe, expect } from "vitest";
import { AmqpKitError, connect } from "../../src/index.ts";
import { type StrangeMessage, strangeMessage } from "../arbitrary-messages.ts";
import { Order, orderPlaced, Price, prices, quote, QuoteRequest, system } from "../contracts.ts";
import { bareSender } from "../peers/bare-broadcast.ts";
import { bareNotifier } from "../peers/bare-notify.ts";
import { bareRequester, bareResponder, bareTopology } from "../peers/bare-request-response.ts";
import { countDrops, recordEvents, recordingLogger } from "../recording.ts";

const fuzzMs = Number(process.env["FUZZ_MS"] ?? 2_000);
const seed = Number(process.env["FUZZ_SEED"] ?? Math.floor(Math.random() * 2 ** 31));
const batchSize = 100;

/** Batch after batch until the time is over; a failure names the seed of its batch. */
async function fuzz(check: (messages: readonly StrangeMessage[]) => Promise<void>): Promise<void> {
  using connections = recordEvents("connection");
  const until = performance.now() + fuzzMs;
  let batches = 0;
  for (; batches === 0 || performance.now() < until; batches++) {
    const ofBatch = seed + batches;
    try {
      await check(sample(strangeMessage, { seed: ofBatch, numRuns: batchSize }));
    } catch (error) {
      throw new Error(`With FUZZ_SEED=${ofBatch}: ${String(error)}`, { cause: error });
    }
  }
  console.log(`${batches * batchSize} messages, FUZZ_SEED=${seed}`);
  expect(connections.all.filter(({ state }) => state === "lost")).toEqual([]);
}

const sum = (counts: Iterable<number>): number => [...counts].reduce((total, count) => total + count, 0);
const good = JSON.stringify({ article: "good", cents: 1, pieces: 1, orderId: "good" });

describe("arbitrary messages", { timeout: fuzzMs + 60_000 }, () => {
  test("a listener handles or drops and counts each (pitfall 94)", async ({ vhost, cleanup }) => {
    const logger = recordingLogger();
    const board = cleanup(await connect(vhost.url, { system, service: "board", logger }));
    const handled: Price[] = [];
    await board.listen(prices, (price) => handled.push(price));
    const { send } = cleanup(await bareSender(vhost.url, "prices"));
    using drops = countDrops("prices");
    let sent = 0;
    await fuzz(async (messages) => {
      for (const { body, properties } of messages) await send(body, properties);
      await send(good);
      sent += messages.length + 1;
      await expect.poll(() => handled.at(-1)?.article).toBe("good");
      expect(handled.length + sum(Object.values(drops.byReason()))).toBe(sent);
      expect(handled.every((price) => Price.safeParse(price).success)).toBe(true);
    });
    expect(Object.keys(drops.byReason()).toSorted()).toEqual(["invalid-message", "message-too-large"]);
    expect(logger.lines.filter(({ level }) => level === "error")).toEqual([]);
  });

  test("a subscriber handles each, at the second attempt if the first fails, or dead-letters it unchanged (pitfall 94)", async ({
    vhost,
    cleanup,
  }) => {
    const { notify } = cleanup(await bareNotifier(vhost.url, "order.placed", ["billing"]));
    const logger = recordingLogger();
    const billing = cleanup(await connect(vhost.url, { system, service: "billing", logger }));
    const handled: Order[] = [];
    const onOrder = (order: Order, { attempt }: { attempt: number }): void => {
      if (attempt === 1 && order.pieces % 2 === 0) throw new Error("not yet");
      handled.push(order);
    };
    await billing.subscribe(orderPlaced, onOrder, { retryDelaysMs: [10], concurrency: 10 });
    const { channel } = cleanup(await bareTopology(vhost.url, "shop"));
    const bodies = new Map<string, number>();
    const reasons = new Set<unknown>();
    let sent = 0;
    let setAside = 0;
    const takeDead = async (): Promise<number> => {
      for (;;) {
        const dead = await channel.get("order.placed.billing.dead", { noAck: true });
        if (dead === false) return handled.length + setAside;
        setAside++;
        reasons.add(dead.properties.headers?.["amqp-kit-reason"]);
        const body = dead.content.toString("base64");
        const left = bodies.get(body) ?? 0;
        if (left === 0) throw new Error("a message that nobody sent was set aside");
        bodies.set(body, left - 1);
      }
    };
    await fuzz(async (messages) => {
      for (const { body } of messages) {
        bodies.set(body.toString("base64"), (bodies.get(body.toString("base64")) ?? 0) + 1);
      }
      await Promise.all(messages.map(({ body, properties }) => notify(body, properties)));
      sent += messages.length;
      await expect.poll(takeDead).toBe(sent);
      await notify(good);
      sent++;
      await expect.poll(() => handled.at(-1)?.article).toBe("good");
      expect(handled.every((order) => Order.safeParse(order).success)).toBe(true);
    });
    expect(reasons).toEqual(new Set(["invalid_message", "message_too_large"]));
    // Nothing is left, and nothing came twice
    await expect
      .poll(() => vhost.management.queue(vhost.name, "order.placed.billing"))
      .toMatchObject({ messages: 0, messages_unacknowledged: 0 });
    expect(await takeDead()).toBe(sent);
  });

  test("a responder answers each that names a usable reply queue, and refuses and counts the others (pitfall 70)", async ({
    vhost,
    cleanup,
  }) => {
    const warehouse = cleanup(await connect(vhost.url, { system, service: "warehouse" }));
    const handled: unknown[] = [];
    await warehouse.respond(quote, (request) => {
      handled.push(request);
      return { article: request.article, cents: 1 };
    });
    const requester = cleanup(await bareRequester(vhost.url, "shop", "quote"));
    using refused = recordEvents("request-refused");
    using undeliverable = recordEvents("reply-undeliverable");
    let sent = 0;
    await fuzz(async (messages) => {
      for (const [index, { body, properties }] of messages.entries()) {
        requester.send(body, index % 2 === 0 ? { ...properties, replyTo: requester.replyQueue } : properties);
      }
      sent += messages.length;
      await expect.poll(() => requester.others.length + refused.all.length + undeliverable.all.length).toBe(sent);
      const reply = await requester.ask(good);
      expect(JSON.parse(reply.content.toString())).toEqual({ article: "good", cents: 1 });
    });
    expect(handled.every((request) => QuoteRequest.safeParse(request).success)).toBe(true);
    const types = new Set(requester.others.map(({ properties }) => properties.contentType));
    expect(types).toEqual(new Set(["application/json", "application/problem+json"]));
    expect(refused.all.length).toBeGreaterThan(0);
  });

  test("a requester reads each as an answer or a typed error, and ignores and counts foreign replies (pitfall 94)", async ({
    vhost,
    cleanup,
  }) => {
    let answer: StrangeMessage | undefined;
    const stray: StrangeMessage[] = [];
    const responder = cleanup(
      await bareResponder(vhost.url, "shop", "quote", (request) => {
        for (const { body, properties } of stray.splice(0))
          responder.reply(request, body, { correlationId: "", ...properties });
        const { correlationId } = request.properties;
        return answer === undefined
          ? { body: good }
          : { body: answer.body, properties: { ...answer.properties, correlationId } };
      }),
    );
    const till = cleanup(await connect(vhost.url, { system, service: "till" }));
    using ignored = recordEvents("reply-ignored");
    const outcomes = new Set<string>();
    let sent = 0;
    await fuzz(async (messages) => {
      for (const [index, message] of messages.entries()) {
        if (index % 2 === 0) {
          stray.push(message);
          sent++;
          continue;
        }
        answer = message;
        const outcome = await till.request(quote, { article: "lamp", pieces: 1 }).then(
          () => "answered",
          (error: unknown) => (error instanceof AmqpKitError ? error.code : String(error)),
        );
        outcomes.add(outcome);
      }
      answer = undefined;
      expect(await till.request(quote, { article: "lamp", pieces: 1 })).toEqual({ article: "good", cents: 1 });
      expect(ignored.all.length).toBe(sent);
    });
    expect(["AMQP_KIT_OPERATION", "AMQP_KIT_REMOTE", "answered"]).toEqual(expect.arrayContaining([...outcomes]));
    expect([...outcomes]).toEqual(expect.arrayContaining(["AMQP_KIT_REMOTE", "answered"]));
  });
});
