/** Bad input on the wire: each receiver treats it as the promise table says, and goes on. */
import { once } from "node:events";
import { readFileSync } from "node:fs";
import { connect as connectTcp, createServer, type AddressInfo } from "node:net";
import { fileURLToPath } from "node:url";
import { gzipSync } from "node:zlib";
import { startProcess, startProxy } from "@amqp-idioms/local-servers";
import { type Cleanup, test } from "@amqp-idioms/local-servers/vitest";
import type { Options } from "amqplib";
import { describe, expect } from "vitest";
import { z } from "zod";
import { connect, defineSystem, MessageTooLargeError, notification } from "../../src/index.ts";
import { orderPlaced, prices, quote, system } from "../contracts.ts";
import { bareSender } from "../peers/bare-broadcast.ts";
import { bareNotifier } from "../peers/bare-notify.ts";
import { bareRequester, bareTopology } from "../peers/bare-request-response.ts";
import { countDrops, recordingLogger } from "../recording.ts";

/** Valid for every one of the three. */
const good = JSON.stringify({ article: "lamp", cents: 1, pieces: 1, orderId: "order 1" });
const secret = "Jane Doe";

interface Verdict {
  reason: string;
  /** What is told of it: to the log, in `.dead`'s headers, in the error reply. */
  told: string;
}

interface Receiver {
  send: (body: string | Buffer, properties: Options.Publish) => Promise<unknown>;
  /** What became of the one bad message that was sent. */
  verdict: () => Promise<Verdict>;
  handled: unknown[];
}

const receivers = {
  listener: async (url: string, cleanup: Cleanup): Promise<Receiver> => {
    const logger = recordingLogger();
    const drops = cleanup(countDrops("prices"));
    const board = cleanup(await connect(url, { system, service: "board", logger }));
    const handled: unknown[] = [];
    await board.listen(prices, ({ article }) => handled.push(article));
    const { send } = cleanup(await bareSender(url, "prices"));
    const verdict = async (): Promise<Verdict> => {
      await expect.poll(() => Object.values(drops.byReason())).toEqual([1]);
      return { reason: Object.keys(drops.byReason()).join().replaceAll("-", "_"), told: JSON.stringify(logger.lines) };
    };
    return { send, verdict, handled };
  },
  subscriber: async (url: string, cleanup: Cleanup): Promise<Receiver> => {
    const { notify } = cleanup(await bareNotifier(url, "order.placed", ["billing"]));
    const billing = cleanup(await connect(url, { system, service: "billing" }));
    const handled: unknown[] = [];
    await billing.subscribe(orderPlaced, ({ article }) => handled.push(article));
    const { channel } = cleanup(await bareTopology(url, "shop"));
    let sent: Buffer | undefined;
    const verdict = async (): Promise<Verdict> => {
      const dead = "order.placed.billing.dead";
      await expect.poll(async () => (await channel.checkQueue(dead)).messageCount).toBe(1);
      const message = await channel.get(dead, { noAck: true });
      if (message === false) throw new Error("nothing was set aside");
      expect(message.content.equals(sent ?? Buffer.of())).toBe(true);
      const headers = message.properties.headers ?? {};
      return { reason: String(headers["amqp-kit-reason"]), told: String(headers["amqp-kit-error"]) };
    };
    const send = (body: string | Buffer, properties: Options.Publish): Promise<void> => {
      sent ??= Buffer.from(body);
      return notify(body, properties);
    };
    return { send, verdict, handled };
  },
  responder: async (url: string, cleanup: Cleanup): Promise<Receiver> => {
    const warehouse = cleanup(await connect(url, { system, service: "warehouse" }));
    const handled: unknown[] = [];
    await warehouse.respond(quote, ({ article }) => {
      handled.push(article);
      return { article, cents: 1 };
    });
    const requester = cleanup(await bareRequester(url, "shop", "quote"));
    let asked: ReturnType<typeof requester.ask> | undefined;
    const send = async (body: string | Buffer, properties: Options.Publish): Promise<void> => {
      const reply = requester.ask(body, properties);
      asked ??= reply;
    };
    const verdict = async (): Promise<Verdict> => {
      const reply = await asked;
      expect(reply?.properties.contentType).toBe("application/problem+json");
      const { code, detail } = JSON.parse(String(reply?.content));
      return { reason: code, told: detail };
    };
    return { send, verdict, handled };
  },
};

/** An array in an array in an array. */
function nested(depth: number): unknown {
  let value: unknown = [];
  for (let level = 0; level < depth; level++) value = [value];
  return value;
}

const invalid = "invalid_message";
const tooLarge = "message_too_large";
const mebibyte = 1024 * 1024;
const named = (rest: string): string => `{"article":"${secret}","orderId":"1",${rest}}`;
const badInputs: { what: string; body: string | Buffer; properties?: Options.Publish; reason: string; says: string }[] =
  [
    { what: "an empty body", body: "", reason: invalid, says: "its body is empty" },
    { what: "an empty body of text", body: "", properties: { contentType: "text/plain" }, reason: invalid, says: "" },
    {
      what: "invalid UTF-8",
      body: Buffer.concat([Buffer.from('{"article":"'), Buffer.from([0xc3, 0x28]), Buffer.from('"}')]),
      reason: invalid,
      says: "its body is not UTF-8",
    },
    { what: "broken JSON", body: named('"pieces":'), reason: invalid, says: "its body is not JSON" },
    { what: "two JSON values", body: `${good}${good}`, reason: invalid, says: "its body is not JSON" },
    {
      what: "a body of 16 MiB",
      body: Buffer.alloc(16 * mebibyte, "["),
      reason: tooLarge,
      says: "takes 16777216 bytes; the limit is 1048576",
    },
    {
      what: "a body one byte over the limit",
      body: Buffer.concat([Buffer.from(good), Buffer.alloc(mebibyte + 1 - good.length, " ")]),
      reason: tooLarge,
      says: "takes 1048577 bytes",
    },
    {
      what: "headers over the limit",
      body: good,
      properties: { headers: { junk: "x".repeat(40_000) } },
      reason: tooLarge,
      says: "The headers of a message",
    },
    {
      what: "an empty body under headers nested 2,000 deep",
      body: "",
      properties: { headers: { nested: nested(2_000) } },
      reason: invalid,
      says: "its body is empty",
    },
    {
      what: "an empty body under headers that have the prototype of bytes",
      body: "",
      properties: { headers: { ["__proto__"]: Buffer.from("x"), nested: { ["__proto__"]: Buffer.from("x") } } },
      reason: invalid,
      says: "its body is empty",
    },
    {
      what: "an unknown content type",
      body: good,
      properties: { contentType: "text/xml" },
      reason: invalid,
      says: "its content type is not",
    },
    {
      what: "an absurd content type",
      body: good,
      properties: { contentType: ";;;__proto__" },
      reason: invalid,
      says: "its content type is not",
    },
    {
      what: "another charset",
      body: good,
      properties: { contentType: "application/json; charset=utf-16" },
      reason: invalid,
      says: "its charset is not UTF-8",
    },
    {
      what: "compression",
      body: gzipSync(good),
      properties: { contentEncoding: "gzip" },
      reason: invalid,
      says: "its content_encoding is not supported",
    },
    {
      what: "an unknown content_encoding",
      body: good,
      properties: { contentEncoding: "__proto__" },
      reason: invalid,
      says: "its content_encoding is not supported",
    },
    {
      what: "a field of the wrong type",
      body: named('"pieces":"Jane Doe","cents":"Jane Doe"'),
      reason: invalid,
      says: "expected number",
    },
    { what: "a number that is none", body: named('"pieces":1e999,"cents":1e999'), reason: invalid, says: "expected" },
    { what: "missing fields", body: "{}", reason: invalid, says: "article: " },
    { what: "null", body: "null", reason: invalid, says: "expected object" },
    { what: "an array", body: `[${good}]`, reason: invalid, says: "expected object" },
    { what: "all its fields under __proto__", body: `{"__proto__":${good}}`, reason: invalid, says: "article: " },
    { what: "half a million brackets", body: "[".repeat(500_000), reason: invalid, says: "its body is not JSON" },
    {
      what: "arrays nested a hundred thousand deep",
      body: "[".repeat(100_000) + "]".repeat(100_000),
      reason: invalid,
      says: "expected object",
    },
    {
      what: "escaped arrays nested a hundred thousand deep",
      body: `["\\u0041",${"[".repeat(100_000)}${"]".repeat(100_000)}]`,
      reason: invalid,
      says: "is not valid",
    },
  ];

const treatments = [
  { role: "listener", treatment: "dropped and counted" },
  { role: "subscriber", treatment: "set aside in <queue>.dead with the reason" },
  { role: "responder", treatment: "answered with a typed error" },
] as const;

describe.for(treatments)(
  "malformed messages are $treatment by a $role, which then handles the next one",
  ({ role }) => {
    test.for(badInputs)("$what (pitfall 94)", async ({ body, properties = {}, reason, says }, { vhost, cleanup }) => {
      const { send, verdict, handled } = await receivers[role](vhost.url, cleanup);
      await send(body, properties);
      await send(good, {});
      await expect.poll(() => handled).toEqual(["lamp"]);
      const { reason: given, told } = await verdict();
      expect(given).toBe(reason);
      expect(told).toContain(says);
      expect(told).not.toContain(secret);
      expect(told.length).toBeLessThan(5_000);
    });

    const absurd: [string, Options.Publish][] = [
      ["no properties at all", {}],
      ["ids of 255 bytes", { messageId: "x".repeat(255), appId: "é".repeat(127), type: "\0".repeat(255) }],
      ["another contract's type", { type: "another", messageId: "\n" }],
      ["a timestamp in milliseconds", { timestamp: Date.now() }],
      [
        "headers of the wrong types",
        // A key that cannot be used refuses a request: odd-handlers.test.ts
        { headers: { "amqp-kit-attempt": "many", "amqp-kit-first-failed-at": { a: 1 }, "x-death": 7 } },
      ],
      ["headers that copy it elsewhere", { headers: { CC: ["nowhere"], BCC: ["nowhere"] } }],
      ["headers of an object's own names", { headers: { constructor: 1, toString: 2, hasOwnProperty: 3 } }],
      ["a header that gives all of them the prototype of bytes", { headers: { ["__proto__"]: Buffer.from("x") } }],
      ["headers nested 2,000 deep", { headers: { nested: nested(2_000) } }],
      ["the highest priority", { priority: 255 }],
    ];
    test.for(absurd)("a valid body is handled even with %s", async ([, properties], { vhost, cleanup }) => {
      const { send, handled } = await receivers[role](vhost.url, cleanup);
      await send(good, properties);
      await send(JSON.stringify({ ...JSON.parse(good), article: "sofa", unknown: secret }), {});
      await expect.poll(() => new Set(handled)).toEqual(new Set(["lamp", "sofa"]));
    });
  },
);

describe("short strings that are not UTF-8, and would be too long once they were,", () => {
  test("a subscriber dead-letters the message without them, and handles the next one (pitfall 94)", async ({
    vhost,
    cleanup,
  }) => {
    const subscriber = await receivers.subscriber(vhost.url, cleanup);
    const { notify } = cleanup(await bareNotifier(await garbling(vhost.url, cleanup), "order.placed", ["billing"]));
    await notify("{}", { messageId: "id-1", appId: garbled, type: garbled, headers: { [garbled]: 1, kept: 1 } });
    await notify("{}", { headers: { nested: { [garbled]: 1 } } });
    await subscriber.send(good, {});
    await expect.poll(() => subscriber.handled).toEqual(["lamp"]);
    const { channel } = cleanup(await bareTopology(vhost.url, "shop"));
    await expect.poll(async () => (await channel.checkQueue("order.placed.billing.dead")).messageCount).toBe(2);
    const message = await channel.get("order.placed.billing.dead", { noAck: true });
    expect(message).toMatchObject({
      properties: { messageId: "id-1", headers: { kept: 1, "amqp-kit-reason": invalid } },
    });
    const nameless = await channel.get("order.placed.billing.dead", { noAck: true });
    expect(nameless).toMatchObject({ properties: { headers: { "amqp-kit-reason": invalid } } });
  });

  test("a responder answers without them, and handles the next one", async ({ vhost, cleanup }) => {
    const { send, handled } = await receivers.responder(vhost.url, cleanup);
    const requester = cleanup(await bareRequester(await garbling(vhost.url, cleanup), "shop", "quote"));
    requester.send(good, { messageId: garbled, correlationId: garbled, appId: garbled });
    await expect.poll(() => requester.others).toHaveLength(1);
    expect(requester.others[0]?.properties.correlationId).toBeUndefined();
    await send(good, {});
    await expect.poll(() => handled).toEqual(["lamp", "lamp"]);
  });
});

test("a timestamp that amqplib cannot write, as a property or in a header, does not block a failed message", async ({
  vhost,
  cleanup,
}) => {
  const proxy = cleanup(await startProxy(vhost.url));
  const timestamp = 0x1122_3344_5566;
  const written = Buffer.from("0000112233445566", "hex");
  proxy.filter(({ type, bytes }) => {
    const at = type === "header" ? bytes.indexOf(written) : -1;
    return at < 0 ? "pass" : Buffer.concat([bytes.subarray(0, at), Buffer.alloc(8, 0xff), bytes.subarray(at + 8)]);
  });
  const { notify } = cleanup(await bareNotifier(proxy.url, "order.placed", ["billing"]));
  const { send, handled } = await receivers.subscriber(vhost.url, cleanup);
  await notify("{}", { timestamp, messageId: "id-1" });
  await notify("{}", { headers: { "amqp-kit-x": { "!": "timestamp", value: timestamp }, kept: 1 } });
  await send(good, {});
  await expect.poll(() => handled).toEqual(["lamp"]);
  const { channel } = cleanup(await bareTopology(vhost.url, "shop"));
  await expect.poll(async () => (await channel.checkQueue("order.placed.billing.dead")).messageCount).toBe(2);
});

const garbled = "~".repeat(200);
const garble = (byte: number): number => (byte === 0x7e ? 0xff : byte);

/** @returns the URL of a relay in which each `~` to the broker becomes a byte that UTF-8 does not have: amqplib cannot say it */
async function garbling(url: string, cleanup: Cleanup): Promise<string> {
  const target = new URL(url);
  const { port, hostname } = target;
  const relay = createServer((client) => {
    const upstream = connectTcp(Number(port), hostname);
    client.on("data", (chunk: Buffer) => upstream.write(chunk.map(garble))).on("error", () => upstream.destroy());
    upstream.pipe(client).on("close", () => upstream.destroy());
  });
  relay.listen(0, "127.0.0.1");
  await once(relay, "listening");
  cleanup(() => relay.close());
  target.port = String((relay.address() as AddressInfo).port);
  return target.href;
}

test("a message that breaks its schema in a thousand places is dead-lettered with an error of 1 KiB, and a handler's error without its text (pitfall 44)", async ({
  vhost,
  cleanup,
}) => {
  const counted = notification("counted", { message: z.record(z.string(), z.int()) });
  const office = defineSystem({ clerk: { notifies: [counted] }, archive: { subscribes: [counted] } });
  const archive = cleanup(await connect(vhost.url, { system: office, service: "archive" }));
  await archive.subscribe(
    counted,
    () => {
      throw new Error("x".repeat(mebibyte));
    },
    { retryDelaysMs: [] },
  );
  const { notify } = cleanup(await bareNotifier(vhost.url, "counted", ["archive"]));
  const wrong = Object.fromEntries(Array.from({ length: 1_000 }, (_, n) => [`${n}`.padEnd(200, "-"), "not a number"]));
  await notify(JSON.stringify(wrong), { contentType: "application/json" });
  await notify("{}", { contentType: "application/json" });
  const errors = async (): Promise<number[]> =>
    (await vhost.management.getMessages(vhost.name, "counted.archive.dead")).map(({ properties }) =>
      Buffer.byteLength(String(properties.headers?.["amqp-kit-error"])),
    );
  await expect.poll(errors).toEqual([1_024, 5]);
});

describe("in bounded memory", () => {
  test("a responder takes 40 bodies of 16 MiB, each unparsed, and answers the next request", async ({
    vhost,
    cleanup,
  }) => {
    const main = fileURLToPath(new URL("../processes/responder.ts", import.meta.url));
    const responder = cleanup(await startProcess({ main, env: { AMQP_URL: vhost.url, NUMBER: "7" } }));
    const requester = cleanup(await bareRequester(vhost.url, "shop", "quote"));
    const before = peakMemory(responder.pid);
    const huge = Buffer.alloc(16 * mebibyte, "[");
    for (let round = 0; round < 10; round++) {
      const replies = await Promise.all([1, 2, 3, 4].map(() => requester.ask(huge)));
      for (const { content } of replies) expect(JSON.parse(content.toString())).toMatchObject({ code: tooLarge });
    }
    const reply = await requester.ask(good);
    expect(JSON.parse(reply.content.toString())).toEqual({ article: "lamp", cents: 7 });
    // 640 MiB came; four bodies at a time, each once as pieces and once as a whole, and what waits to be collected
    expect(peakMemory(responder.pid) - before).toBeLessThan(400 * mebibyte);
  });
});

/** In bytes, by the kernel's count. */
function peakMemory(pid: number): number {
  return Number(/VmHWM:\s+(\d+) kB/.exec(readFileSync(`/proc/${pid}/status`, "utf8"))?.[1]) * 1024;
}

describe("messages over our own limits are refused before the wire, naming size and limit", () => {
  test("by each verb that sends; the next message goes (pitfall 43)", async ({ vhost, cleanup }) => {
    const url = vhost.url;
    const warehouse = cleanup(await connect(url, { system, service: "warehouse" }));
    await warehouse.respond(quote, ({ article }) => ({ article, cents: 1 }));
    const market = cleanup(await connect(url, { system, service: "market" }));
    const till = cleanup(await connect(url, { system, service: "till" }));
    const article = "x".repeat(mebibyte);
    const refusals = [
      market.broadcast(prices, { article, cents: 1 }),
      till.notify(orderPlaced, { article, pieces: 1, orderId: "1" }),
      till.request(quote, { article, pieces: 1 }),
    ];
    for (const refusal of await Promise.allSettled(refusals)) {
      const reason: unknown = refusal.status === "rejected" ? refusal.reason : undefined;
      expect(reason).toBeInstanceOf(MessageTooLargeError);
      expect(reason).toMatchObject({
        message: expect.stringMatching(
          /^The body of a message of ".*" takes 1048\d\d\d bytes; the limit is 1048576\. /,
        ),
        maxBytes: mebibyte,
      });
    }
    await market.broadcast(prices, { article: "lamp", cents: 1 });
    await till.notify(orderPlaced, { article: "lamp", pieces: 1, orderId: "1" });
    expect(await till.request(quote, { article: "lamp", pieces: 1 })).toEqual({ article: "lamp", cents: 1 });
    const { channel } = cleanup(await bareTopology(url, "shop"));
    expect((await channel.checkQueue("order.placed.billing")).messageCount).toBe(1);
  });
});
