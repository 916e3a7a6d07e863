/** Whatever a handler throws, and whatever a decoder returns: the message is settled, and the next one handled. */
import { test } from "@amqp-idioms/local-servers/vitest";
import { describe, expect } from "vitest";
import { z } from "zod";
import { broadcast, connect, defineSystem, notification, operation, OperationError } from "../../src/index.ts";
import { bareRequester } from "../peers/bare-request-response.ts";
import { recordingLogger } from "../recording.ts";

const Anything = z.object({ id: z.string() });
// What compiles, since a decoder may return anything
const decoders = { "text/plain": async (): Promise<unknown> => Promise.reject(new Error("asynchronous")) };
const news = broadcast("news", { message: Anything });
const added = notification("added", { message: Anything });
const ask = operation("ask", {
  exchange: "shop",
  request: Anything,
  response: Anything,
  timeoutMs: 5_000,
  errors: { odd: z.any() },
  decoders,
});
const system = defineSystem({
  asker: { broadcasts: [news], notifies: [added], requests: [ask] },
  worker: { listens: [news], subscribes: [added], responds: [ask] },
});

const oddErrors: readonly [string, () => unknown][] = [
  ["an error whose stack is a list", () => Object.assign(new Error("x"), { stack: ["frames"] })],
  ["an error whose name is a symbol", () => Object.assign(new Error("x"), { name: Symbol("x") })],
  ["an error whose code throws", () => Object.defineProperty(new Error("x"), "code", { get: fail })],
  ["a declared error whose details have no JSON", () => new OperationError(ask, "odd", { pieces: 10n })],
  ["undefined", () => undefined],
  ["an object without a prototype", () => Object.create(null)],
];

function fail(): never {
  throw new Error("a getter that throws");
}

describe.for(oddErrors)("a handler throws %s", ([, thrown]) => {
  test("each receiver settles the message, logs it, and handles the next", async ({ vhost, cleanup }) => {
    const logger = recordingLogger();
    const worker = cleanup(await connect(vhost.url, { system, service: "worker", logger }));
    const asker = cleanup(await connect(vhost.url, { system, service: "asker" }));
    const handled: string[] = [];
    const handler = ({ id }: { id: string }): { id: string } => {
      if (id === "odd") throw thrown();
      handled.push(id);
      return { id };
    };
    await worker.listen(news, handler);
    await worker.subscribe(added, handler, { retryDelaysMs: [] });
    await worker.respond(ask, handler, { concurrency: 1 });

    await asker.broadcast(news, { id: "odd" });
    await asker.notify(added, { id: "odd" });
    await expect(asker.request(ask, { id: "odd" })).rejects.toMatchObject({
      code: "AMQP_KIT_REMOTE",
      remoteCode: "internal_error",
    });
    await asker.broadcast(news, { id: "heard" });
    await asker.notify(added, { id: "notified" });
    expect(await asker.request(ask, { id: "asked" })).toEqual({ id: "asked" });
    await expect.poll(() => handled.toSorted()).toEqual(["asked", "heard", "notified"]);
    const failures = logger.lines.filter(({ message }) => message.startsWith("handler failed"));
    expect(failures.length).toBe(3);
    expect(worker.isReady).toBe(true);
  });
});

test("an asynchronous decoder makes the message invalid and causes no unhandled rejection", async ({
  vhost,
  cleanup,
}) => {
  const worker = cleanup(await connect(vhost.url, { system, service: "worker" }));
  await worker.respond(ask, ({ id }) => ({ id }));
  const stranger = cleanup(await bareRequester(vhost.url, "shop", "ask"));
  const reply = await stranger.ask("some text", { contentType: "text/plain" });
  expect(JSON.parse(reply.content.toString())).toMatchObject({ code: "invalid_message" });
  expect(JSON.parse((await stranger.ask('{"id":"1"}')).content.toString())).toEqual({ id: "1" });
});

test.for([12_345, Buffer.from("key"), "k".repeat(256), "a\u0000b", ""])(
  "an idempotency key that cannot be used, %j, refuses the request instead of executing it at each repeat",
  async (key, { vhost, cleanup }) => {
    const worker = cleanup(await connect(vhost.url, { system, service: "worker" }));
    const begun: string[] = [];
    await worker.respond(ask, ({ id }) => (begun.push(id), { id }));
    const stranger = cleanup(await bareRequester(vhost.url, "shop", "ask"));
    const reply = await stranger.ask('{"id":"1"}', { headers: { "idempotency-key": key } });
    expect(JSON.parse(reply.content.toString())).toMatchObject({
      code: "invalid_message",
      retryable: false,
      errors: [{ path: "idempotency-key", rule: expect.stringContaining("1 to 255 bytes") }],
    });
    expect(begun).toEqual([]);
  },
);

test.for([65_536, 70_000])(
  "a concurrency of %i, which AMQP cannot carry, is refused",
  async (concurrency, { vhost, cleanup }) => {
    const worker = cleanup(await connect(vhost.url, { system, service: "worker" }));
    await expect(worker.subscribe(added, () => undefined, { concurrency })).rejects.toThrow(/concurrency.*65535/);
    await expect(worker.respond(ask, ({ id }) => ({ id }), { concurrency })).rejects.toThrow(/concurrency.*65535/);
  },
);
