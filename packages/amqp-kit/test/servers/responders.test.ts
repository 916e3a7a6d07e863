import { setTimeout as sleep } from "node:timers/promises";
import { amqpMethods, type ServiceProcess, startProxy } from "@amqp-idioms/local-servers";
import { type Cleanup, test } from "@amqp-idioms/local-servers/vitest";
import { describe, expect } from "vitest";
import { permissionsOf, type Permissions } from "../../src/derive/permissions.ts";
import { connect, defineSystem, operation, RequestTimeoutError, TopologyError } from "../../src/index.ts";
import { begunBy, double, failure, lamps, numbers, openShop, responderProcess, postQuote } from "../asking.ts";
import { Quote, quote, QuoteRequest, system } from "../contracts.ts";
import { bareRequester, bareResponder, bareTopology } from "../peers/bare-request-response.ts";
import { recordEvents, recordingLogger } from "../recording.ts";

describe("several responders", () => {
  test("three share the load, and the request of one killed with -9 is redelivered within the caller's time limit", async ({
    vhost,
    cleanup,
  }) => {
    const processes = await Promise.all(
      ["1", "2", "3"].map((n) => responderProcess(vhost.url, { NUMBER: n, WORK_MS: "300" })),
    );
    for (const process of processes) cleanup(process);
    const till = cleanup(await connect(vhost.url, { system, service: "till" }));
    const shared = await Promise.all(numbers(1, 30).map((n) => till.request(quote, { article: `a${n}`, pieces: 1 })));
    expect(new Set(shared.map(({ cents }) => cents))).toEqual(new Set([1, 2, 3]));

    const asked = till.request(quote, { article: "handed over", pieces: 1 });
    const holder = (): ServiceProcess | undefined => processes.find((one) => begunBy(one).includes("handed over"));
    await expect.poll(holder, { interval: 5 }).toBeDefined();
    const killed = holder();
    await killed?.kill();
    const { article, cents } = await asked;
    expect(article).toBe("handed over");
    expect(processes[cents - 1]).not.toBe(killed);
    expect(processes.filter((one) => begunBy(one).includes("handed over"))).toHaveLength(2);
  });

  test("one that is stopped finishes its requests in flight, and the others continue (pitfall 61)", async ({
    vhost,
    cleanup,
  }) => {
    const warehouse = cleanup(await connect(vhost.url, { system, service: "warehouse" }));
    const gate = Promise.withResolvers<void>();
    const begun = Promise.withResolvers<void>();
    const leaving = await warehouse.respond(quote, async (request) => {
      begun.resolve();
      await gate.promise;
      return double(request);
    });
    const till = cleanup(await connect(vhost.url, { system, service: "till" }));
    const asked = till.request(quote, lamps(1));
    await begun.promise;
    const stopped = leaving.stop();
    await warehouse.respond(quote, ({ article }) => ({ article, cents: 0 }));
    expect(await till.request(quote, lamps(7))).toEqual({ article: "lamp", cents: 0 });
    gate.resolve();
    expect(await asked).toEqual({ article: "lamp", cents: 2 });
    await stopped;
  });

  test("the last one still answers its request in flight when stopped, and the caller gets no error", async ({
    vhost,
    cleanup,
  }) => {
    const warehouse = cleanup(await connect(vhost.url, { system, service: "warehouse" }));
    const begun = Promise.withResolvers<void>();
    const leaving = await warehouse.respond(quote, async (request) => {
      begun.resolve();
      await sleep(1_000);
      return double(request);
    });
    const till = cleanup(await connect(vhost.url, { system, service: "till" }));
    const asked = till.request(quote, lamps(1));
    await begun.promise;
    await leaving.stop();
    expect(await asked).toEqual({ article: "lamp", cents: 2 });
  });
});

describe("a responder that cannot reply for a while", () => {
  const facts = { exchange: "shop", request: QuoteRequest, response: Quote };
  const impatient = operation("impatient", { ...facts, timeoutMs: 500 });
  const shop = defineSystem({ warehouse: { responds: [impatient] } });

  /** A responder that has answered once, and the link over which it replies. */
  async function answering(url: string, cleanup: Cleanup) {
    const proxy = cleanup(await startProxy(url));
    const warehouse = cleanup(await connect(proxy.url, { system: shop, service: "warehouse" }));
    let begun = 0;
    await warehouse.respond(impatient, (request) => {
      begun++;
      return double(request);
    });
    const requester = cleanup(await bareRequester(url, "shop", "impatient"));
    await requester.ask(JSON.stringify(lamps(1)));
    // It opened a second connection for that first reply
    const [, publishing] = proxy.links;
    return { proxy, publishing, requester, begun: () => begun };
  }

  test("requeues the request, and another one answers it, if its reply was sent into a silently dead link", async ({
    vhost,
    cleanup,
  }) => {
    const { proxy, publishing, requester, begun } = await answering(vhost.url, cleanup);
    proxy.filter((_, direction, link) => (link === publishing && direction === "to-server" ? "drop" : "pass"));
    const asked = requester.ask(JSON.stringify(lamps(2)));
    await expect.poll(begun).toBeGreaterThanOrEqual(3);
    const other = cleanup(await connect(vhost.url, { system: shop, service: "warehouse" }));
    await other.respond(impatient, double);
    expect((await asked).content.toString()).toBe(JSON.stringify({ article: "lamp", cents: 4 }));
  });

  test("requeues the request, and answers it when it can", async ({ vhost, cleanup }) => {
    const { proxy, publishing, requester, begun } = await answering(vhost.url, cleanup);
    proxy.refuse();
    publishing?.cut();
    const asked = requester.ask(JSON.stringify(lamps(2)));
    // After its time limit, and what a reply gets in any case
    await expect.poll(begun).toBeGreaterThanOrEqual(3);
    proxy.accept();
    expect((await asked).content.toString()).toBe(JSON.stringify({ article: "lamp", cents: 4 }));
  });
});

describe("on the wire", () => {
  test("a request has what the wire table says, and what is left of its time limit", async ({ vhost, cleanup }) => {
    const seen: Record<string, unknown>[] = [];
    cleanup(
      await bareResponder(vhost.url, "shop", "quote", ({ content, properties, fields }) => {
        seen.push({ ...properties, exchange: fields.exchange, routingKey: fields.routingKey });
        return { body: JSON.stringify(double(JSON.parse(content.toString()))) };
      }),
    );
    const till = cleanup(await connect(vhost.url, { system, service: "till" }));
    await till.request(quote, lamps(1), { idempotencyKey: "key-1", timeoutMs: 2_000 });
    await till.request(quote, lamps(1), { idempotencyKey: "key-1", timeoutMs: 2_000 });
    const [first, again] = seen;
    expect(first).toMatchObject({
      exchange: "shop",
      routingKey: "quote",
      contentType: "application/json",
      replyTo: expect.stringMatching(/^amq\.gen-/),
      correlationId: expect.stringMatching(/^[0-9a-f-]{36}$/),
      messageId: expect.stringMatching(/^[0-9a-f-]{36}$/),
      type: "quote",
      appId: "till",
      deliveryMode: 1,
      headers: { "idempotency-key": "key-1" },
    });
    expect(Number(first?.["expiration"])).toBeGreaterThan(500);
    expect(Number(first?.["expiration"])).toBeLessThan(2_000);
    expect(again?.["correlationId"]).not.toBe(first?.["correlationId"]);
    expect(again?.["messageId"]).not.toBe(first?.["messageId"]);
  });

  test("a reply carries the request's correlation_id, or none, and copies no header", async ({ vhost, cleanup }) => {
    const warehouse = cleanup(await connect(vhost.url, { system, service: "warehouse" }));
    await warehouse.respond(quote, double);
    const requester = cleanup(await bareRequester(vhost.url, "shop", "quote"));
    const headers = { CC: ["quote"], "x-secret": "1", "idempotency-key": "key-1" };
    const reply = await requester.ask(JSON.stringify(lamps(1)), { headers, priority: 3 });
    expect(reply.properties).toMatchObject({
      contentType: "application/json",
      type: "quote",
      appId: "warehouse",
      headers: {},
    });
    expect(reply.fields).toMatchObject({ exchange: "", routingKey: requester.replyQueue });
    requester.send(JSON.stringify(lamps(2)));
    await expect.poll(() => requester.others).toHaveLength(1);
    expect(requester.others[0]?.properties.correlationId).toBeUndefined();
    expect(JSON.parse(String(requester.others[0]?.content))).toEqual({ article: "lamp", cents: 4 });
  });

  test("a reply whose requester has left is counted, and the responder handles the next request (pitfall 65)", async ({
    vhost,
    cleanup,
  }) => {
    using undeliverable = recordEvents("reply-undeliverable");
    const warehouse = cleanup(await connect(vhost.url, { system, service: "warehouse" }));
    const gate = Promise.withResolvers<void>();
    const begun = Promise.withResolvers<void>();
    await warehouse.respond(quote, async (request) => {
      begun.resolve();
      await gate.promise;
      return double(request);
    });
    const gone = await bareRequester(vhost.url, "shop", "quote");
    gone.send(JSON.stringify(lamps(1)), { messageId: "id-1" });
    await begun.promise;
    await gone[Symbol.asyncDispose]();
    gate.resolve();
    await expect.poll(() => undeliverable.all).toEqual([{ contract: "quote", messageId: "id-1" }]);
    const till = cleanup(await connect(vhost.url, { system, service: "till" }));
    expect(await till.request(quote, lamps(1))).toEqual({ article: "lamp", cents: 2 });
  });

  const unusable = [
    undefined,
    "",
    "order.placed.billing",
    "quote",
    "amq.gen-",
    "amq.gen-a b",
    `amq.gen-${"x".repeat(200)}`,
    "amq.rabbitmq.reply-to.AAAA.BBBB",
    "amq.rabbitmq.reply-to.g1h2AA5yZXBseUAxMjM0NTY3OAAAAAAAAAAAAAAAAA==.AAAA",
  ];
  test("a request whose reply_to is not a server-named reply queue is refused and counted, valid or not (pitfalls 71, 72)", async ({
    vhost,
    cleanup,
  }) => {
    using refused = recordEvents("request-refused");
    using connections = recordEvents("connection");
    const logger = recordingLogger();
    const warehouse = cleanup(await connect(vhost.url, { system, service: "warehouse", logger }));
    const begun: string[] = [];
    await warehouse.respond(quote, (request) => {
      begun.push(request.article);
      return double(request);
    });
    const admin = cleanup(await bareTopology(vhost.url, "shop", "order.placed.billing"));
    const requester = cleanup(await bareRequester(vhost.url, "shop", "quote"));
    for (const [index, replyTo] of unusable.entries()) {
      requester.send(JSON.stringify({ article: "refused", pieces: 1 }), { replyTo, messageId: `id-${index}` });
      requester.send("garbage", { replyTo, messageId: `id-${index}` });
    }
    const reply = await requester.ask(JSON.stringify(lamps(1)));
    expect(JSON.parse(reply.content.toString())).toEqual({ article: "lamp", cents: 2 });
    expect(begun).toEqual(["lamp"]);
    expect(refused.all).toEqual(
      unusable.flatMap((_, index) => [1, 2].map(() => ({ contract: "quote", messageId: `id-${index}` }))),
    );
    expect(logger.lines.filter(({ message }) => message.includes("reply_to"))).toHaveLength(unusable.length * 2);
    expect((await admin.channel.checkQueue("order.placed.billing")).messageCount).toBe(0);
    expect(connections.all.filter(({ state }) => state === "lost")).toEqual([]);
  });

  test("a malformed request without a usable reply queue is refused", async ({ vhost, cleanup }) => {
    using refused = recordEvents("request-refused");
    const warehouse = cleanup(await connect(vhost.url, { system, service: "warehouse" }));
    await warehouse.respond(quote, double);
    const requester = cleanup(await bareRequester(vhost.url, "shop", "quote"));
    // A reply queue of the right form that never was: the answer is returned to the responder
    requester.send(JSON.stringify(lamps(1)), { replyTo: "amq.gen-never_was" });
    requester.send("{", { replyTo: undefined });
    const reply = await requester.ask(JSON.stringify(lamps(2)));
    expect(JSON.parse(reply.content.toString())).toEqual({ article: "lamp", cents: 4 });
    expect(refused.all).toHaveLength(1);
  });

  test("replies leave on a connection on which nothing is consumed (pitfall 72)", async ({ vhost, cleanup }) => {
    const proxy = cleanup(await startProxy(vhost.url));
    const warehouse = cleanup(await connect(proxy.url, { system, service: "warehouse" }));
    const publishing = new Set<number>();
    const consuming = new Set<number>();
    proxy.filter(({ method }, _, { id }) => {
      if (method === amqpMethods.basicPublish) publishing.add(id);
      if (method === amqpMethods.basicConsume) consuming.add(id);
      return "pass";
    });
    await warehouse.respond(quote, double);
    const till = cleanup(await connect(vhost.url, { system, service: "till" }));
    await till.request(quote, lamps(1));
    expect([publishing.size, consuming.size]).toEqual([1, 1]);
    expect([...publishing]).not.toEqual([...consuming]);
  });

  test("a request queue that is deleted before it is consumed is declared again (pitfall 20)", async ({
    vhost,
    cleanup,
  }) => {
    const proxy = cleanup(await startProxy(vhost.url));
    const warehouse = cleanup(await connect(proxy.url, { system, service: "warehouse" }));
    let isHeld = false;
    proxy.filter(({ method }) => {
      if (method !== amqpMethods.basicConsume) return "pass";
      isHeld = true;
      return "hold";
    });
    const responding = warehouse.respond(quote, double);
    await expect.poll(() => isHeld).toBe(true);
    await vhost.management.deleteQueue(vhost.name, "quote");
    proxy.filter(undefined);
    proxy.release();
    await responding;
    const till = cleanup(await connect(vhost.url, { system, service: "till" }));
    expect(await till.request(quote, lamps(1))).toEqual({ article: "lamp", cents: 2 });
  });

  test("an existing request queue is used as it is, whoever declared it (pitfall 19)", async ({ vhost, cleanup }) => {
    const { channel } = cleanup(await bareTopology(vhost.url, "shop"));
    await channel.assertQueue("quote", { durable: true, arguments: { "x-max-length": 50 } });
    const warehouse = cleanup(await connect(vhost.url, { system, service: "warehouse" }));
    await warehouse.respond(quote, double);
    const till = cleanup(await connect(vhost.url, { system, service: "till" }));
    expect(await till.request(quote, lamps(1))).toEqual({ article: "lamp", cents: 2 });
  });

  test("the 2009 post's transient, shared queue works if the broker permits it; else the error says what to do (pitfall 19)", async ({
    vhost,
    cleanup,
  }) => {
    const { till, warehouse } = await openShop(vhost.url, cleanup);
    const responding = await failure(warehouse.respond(postQuote, double));
    if (responding.error instanceof TopologyError) {
      expect(responding.error.message).toContain("deprecated_features.permit.transient_nonexcl_queues = true");
    } else {
      expect(await till.request(postQuote, lamps(1))).toEqual({ article: "lamp", cents: 2 });
      expect(await vhost.management.queue(vhost.name, "post_quote")).toMatchObject({
        durable: false,
        auto_delete: true,
      });
    }
    // What was refused took nothing along
    await warehouse.respond(quote, double);
    expect(await till.request(quote, lamps(1))).toEqual({ article: "lamp", cents: 2 });
  });

  test("a request or reply that its user may not write: the caller, or the responder's log, says so", async ({
    vhost,
    cleanup,
  }) => {
    const as = async (service: "till" | "warehouse", granted: Permissions): Promise<string> => {
      const user = `${vhost.name}-${service}`;
      await vhost.management.createUser(user, "secret", { vhost: vhost.name, ...granted });
      cleanup(() => vhost.management.deleteUser(user));
      return vhost.url.replace(/\/\/[^@]*@/, `//${user}:secret@`);
    };
    const may = permissionsOf(system);
    const logger = recordingLogger();
    const url = await as("warehouse", { ...may.warehouse, write: "^quote$" });
    const warehouse = cleanup(await connect(url, { system, service: "warehouse", logger }));
    await warehouse.respond(quote, double);
    const asking = cleanup(await connect(vhost.url, { system, service: "till" }));
    await expect(asking.request(quote, lamps(1), { timeoutMs: 300 })).rejects.toThrow(RequestTimeoutError);
    const refused = {
      message: "reply not confirmed, request requeued",
      facts: { error: expect.stringMatching("ACCESS_REFUSED") },
    };
    await expect
      .poll(() => logger.lines)
      .toContainEqual(expect.objectContaining({ ...refused, facts: expect.objectContaining(refused.facts) }));

    const tillUrl = await as("till", { ...may.till, write: may.till.write.replace("|shop)", ")") });
    const till = cleanup(await connect(tillUrl, { system, service: "till" }));
    await expect(till.request(quote, lamps(1))).rejects.toThrow(/exchange "shop".*ACCESS_REFUSED/);
  });
});
