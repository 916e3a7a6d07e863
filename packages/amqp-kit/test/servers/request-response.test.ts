import { setTimeout as sleep } from "node:timers/promises";
import { createVirtualHost, startProxy } from "@amqp-idioms/local-servers";
import type { VirtualHost } from "@amqp-idioms/local-servers";
import { type Cleanup, test } from "@amqp-idioms/local-servers/vitest";
import { describe, expect } from "vitest";
import {
  ClosedError,
  connect,
  ConnectionError,
  defineSystem,
  NoResponderError,
  OperationError,
  RemoteError,
  RequestTimeoutError,
  TooManyRequestsError,
} from "../../src/index.ts";
import {
  begunBy,
  double,
  failure,
  lamps,
  numbers,
  responderProcess,
  type Quote,
  type QuoteRequest,
} from "../asking.ts";
import { quote, system } from "../contracts.ts";
import { bareRequester, bareResponder, bareTopology } from "../peers/bare-request-response.ts";
import { recordEvents, recordingLogger } from "../recording.ts";

/** Queues of replies that somebody consumes, by name. */
async function replyQueues({ management, name }: VirtualHost): Promise<string[]> {
  const names = (await management.consumers(name)).map(({ queue }) => queue.name);
  return names.filter((queue) => queue.startsWith("amq.gen-"));
}

type Ask = (request: QuoteRequest, options?: { idempotencyKey?: string }) => Promise<Quote>;

/** Both roles, by the kit and by a stranger who knows only the wire table. */
const requesters = {
  kit: async (url: string, cleanup: Cleanup): Promise<Ask> => {
    const till = cleanup(await connect(url, { system, service: "till" }));
    return (request, options) => till.request(quote, request, options);
  },
  bare: async (url: string, cleanup: Cleanup): Promise<Ask> => {
    const requester = cleanup(await bareRequester(url, "shop", "quote"));
    return async (request, { idempotencyKey } = {}) => {
      const headers = idempotencyKey === undefined ? {} : { "idempotency-key": idempotencyKey };
      const reply = await requester.ask(JSON.stringify(request), { headers, expiration: 5_000 });
      return JSON.parse(reply.content.toString());
    };
  },
};
const responders = {
  kit: async (url: string, cleanup: Cleanup, onRequest: (request: QuoteRequest, key: unknown) => Quote) => {
    const warehouse = cleanup(await connect(url, { system, service: "warehouse" }));
    await warehouse.respond(quote, (request, { idempotencyKey }) => onRequest(request, idempotencyKey));
  },
  bare: async (url: string, cleanup: Cleanup, onRequest: (request: QuoteRequest, key: unknown) => Quote) => {
    const answer = (content: Buffer, key: unknown): string =>
      JSON.stringify(onRequest(JSON.parse(content.toString()), key));
    cleanup(
      await bareResponder(url, "shop", "quote", ({ content, properties }) => ({
        body: answer(content, properties.headers?.["idempotency-key"]),
      })),
    );
  },
};
const pairs = [
  { requester: "kit", responder: "kit" },
  { requester: "kit", responder: "bare" },
  { requester: "bare", responder: "kit" },
] as const;

describe.for(pairs)("request/response, from $requester to $responder", (pair) => {
  test("executed at least once, effectively once under its idempotency key", async ({ vhost, cleanup }) => {
    const effects = new Map<unknown, Quote>();
    let executions = 0;
    await responders[pair.responder](vhost.url, cleanup, (request, key) => {
      executions++;
      const first = effects.get(key) ?? { ...double(request), cents: executions };
      effects.set(key, first);
      return first;
    });
    const ask = await requesters[pair.requester](vhost.url, cleanup);
    const first = await ask(lamps(1), { idempotencyKey: "key-1" });
    expect(await ask(lamps(1), { idempotencyKey: "key-1" })).toEqual(first);
    expect(await ask(lamps(1), { idempotencyKey: "key-2" })).not.toEqual(first);
    expect(executions).toBe(3);
    expect(effects.size).toBe(2);
  });

  test("the answer to each of many concurrent requests is its own", async ({ vhost, cleanup }) => {
    await responders[pair.responder](vhost.url, cleanup, double);
    const ask = await requesters[pair.requester](vhost.url, cleanup);
    const asked = numbers(1, 200);
    const answers = await Promise.all(asked.map((pieces) => ask(lamps(pieces))));
    expect(answers.map(({ cents }) => cents)).toEqual(asked.map((pieces) => pieces * 2));
  });
});

describe("nobody is listening: a clear error at once, not a timeout", () => {
  const absences = [
    { what: "no queue is bound", why: "no queue is bound", outcome: "not-executed" },
    { what: "the exchange itself is gone", why: 'exchange "shop" does not exist', outcome: "unknown" },
    { what: "a queue has stayed behind without consumers", why: "without consumers", outcome: "unknown" },
    { what: "the queue vanished with the request in it", why: "vanished", outcome: "unknown" },
  ] as const;

  test.for(absences)(
    "$what: NoResponderError within 500 ms (pitfall 66)",
    async ({ what, why, outcome }, { vhost, cleanup }) => {
      if (what === "no queue is bound") cleanup(await bareTopology(vhost.url, "shop"));
      if (what.startsWith("a queue")) cleanup(await bareTopology(vhost.url, "shop", "quote"));
      if (what.startsWith("the queue")) {
        const responder: Awaited<ReturnType<typeof bareResponder>> = cleanup(
          await bareResponder(vhost.url, "shop", "quote", () => {
            void responder.channel.deleteQueue("quote");
            return undefined;
          }),
        );
      }
      const till = cleanup(await connect(vhost.url, { system, service: "till" }));
      const { error, ms } = await failure(till.request(quote, lamps(1)));
      expect(error).toBeInstanceOf(NoResponderError);
      expect(error).toMatchObject({
        code: "AMQP_KIT_NO_RESPONDER",
        contract: "quote",
        exchange: "shop",
        retryable: true,
      });
      expect(error).toMatchObject({ message: expect.stringContaining(why), outcome });
      expect(ms).toBeLessThan(500);
    },
  );

  test("a responder that is there later is found: nobody needs a restart", async ({ vhost, cleanup }) => {
    const till = cleanup(await connect(vhost.url, { system, service: "till" }));
    for (const round of [1, 2, 3]) {
      await expect(till.request(quote, lamps(round))).rejects.toThrow(NoResponderError);
      const warehouse = await connect(vhost.url, { system, service: "warehouse" });
      await warehouse.respond(quote, double);
      expect(await till.request(quote, lamps(round))).toEqual({ article: "lamp", cents: round * 2 });
      await warehouse.close();
    }
  });

  test("the last responder is killed with the request in hand: the error comes at once, not at the time limit (pitfall 66)", async ({
    vhost,
    cleanup,
  }) => {
    const responder = cleanup(await responderProcess(vhost.url, { WORK_MS: "60000" }));
    const till = cleanup(await connect(vhost.url, { system, service: "till" }));
    const asked = failure(till.request(quote, lamps(1)));
    await expect.poll(() => begunBy(responder)).toEqual(["lamp"]);
    const killedAt = performance.now();
    await responder.kill();
    expect((await asked).error).toMatchObject({ code: "AMQP_KIT_NO_RESPONDER", outcome: "unknown" });
    expect(performance.now() - killedAt).toBeLessThan(1_000);
    const { error, ms } = await failure(till.request(quote, lamps(2)));
    expect(error).toBeInstanceOf(NoResponderError);
    expect(ms).toBeLessThan(500);
  });
});

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
    expect(error).toMatchObject({ message: 'No answer to "quote" within 300 ms.' });
    expect(ms).toBeGreaterThan(280);
    gate.resolve();
    await first;
    await till.request(quote, { article: "marker", pieces: 1 });
    expect(begun).toEqual(["first", "marker"]);
  });

  test("a request whose time limit passed in the socket of a frozen responder is never begun (pitfall 69)", async ({
    vhost,
    cleanup,
  }) => {
    const responder = cleanup(await responderProcess(vhost.url));
    const till = cleanup(await connect(vhost.url, { system, service: "till" }));
    await till.request(quote, { article: "warm", pieces: 1 });
    responder.freeze();
    const late = numbers(1, 5).map((n) => till.request(quote, { article: `late ${n}`, pieces: 1 }, { timeoutMs: 400 }));
    for (const { error } of await Promise.all(late.map(failure))) expect(error).toBeInstanceOf(RequestTimeoutError);
    responder.thaw();
    await till.request(quote, { article: "marker", pieces: 1 });
    expect(begunBy(responder)).toEqual(["warm", "marker"]);
  });

  test("a request made while the broker takes none is not sent, and not begun when it takes some again", async ({
    ownBroker,
    cleanup,
  }) => {
    const vhost = cleanup(await createVirtualHost(ownBroker));
    const warehouse = cleanup(await connect(vhost.url, { system, service: "warehouse" }));
    const begun: string[] = [];
    await warehouse.respond(quote, (request) => {
      begun.push(request.article);
      return double(request);
    });
    const till = cleanup(await connect(vhost.url, { system, service: "till" }));
    await till.request(quote, lamps(1));
    using connections = recordEvents("connection");
    await ownBroker.raiseMemoryAlarm();
    const knock = (): Promise<unknown> => failure(till.request(quote, lamps(1), { timeoutMs: 300 }));
    await expect
      .poll(async () => (await knock(), connections.all))
      .toContainEqual({ purpose: "publishing", state: "blocked" });
    const late = await failure(till.request(quote, { article: "late", pieces: 1 }, { timeoutMs: 300 }));
    await ownBroker.clearMemoryAlarm();
    await till.request(quote, { article: "marker", pieces: 1 });
    expect(begun).not.toContain("late");
    expect(late.error).toBeInstanceOf(ConnectionError);
    expect(late.error).toMatchObject({ retryable: true, outcome: "not-executed" });
  });

  test("a request that waits to be sent while the reply queue becomes another one is answered on that", async ({
    vhost,
    cleanup,
  }) => {
    const asking = defineSystem({ till: { requests: [quote] } });
    const warehouse = cleanup(await connect(vhost.url, { system, service: "warehouse" }));
    await warehouse.respond(quote, double);
    const proxy = cleanup(await startProxy(vhost.url));
    const till = cleanup(await connect(proxy.url, { system: asking, service: "till" }));
    const [consuming] = proxy.links;
    await expect.poll(() => replyQueues(vhost)).toHaveLength(1);
    const [before] = await replyQueues(vhost);
    // What publishes is connected when first needed, and here not before the frames are released
    proxy.filter((_frame, direction, link) =>
      link.id === (consuming?.id ?? 0) + 1 && direction === "to-client" ? "hold" : "pass",
    );
    const asked = till.request(quote, lamps(1), { timeoutMs: 30_000 });
    await expect.poll(() => proxy.links).toHaveLength(2);
    consuming?.cut();
    await expect
      .poll(() => replyQueues(vhost))
      .toSatisfy((names: string[]) => names.length === 1 && !names.includes(before ?? ""));
    proxy.filter(undefined);
    proxy.links.forEach((link) => link.release());
    expect(await asked).toEqual(double(lamps(1)));
  });

  test("a request that a frozen responder finds in time once it thaws is executed", async ({ vhost, cleanup }) => {
    const responder = cleanup(await responderProcess(vhost.url, { NUMBER: "7" }));
    const till = cleanup(await connect(vhost.url, { system, service: "till" }));
    await till.request(quote, { article: "warm", pieces: 1 });
    responder.freeze();
    const asked = till.request(quote, lamps(1), { timeoutMs: 20_000 });
    await sleep(800);
    responder.thaw();
    expect(await asked).toEqual({ article: "lamp", cents: 7 });
  });
});

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

  test("the broker killed under 50 pending requests, and started again (pitfall 14)", async ({
    ownBroker,
    cleanup,
  }) => {
    const warehouse = cleanup(await connect(ownBroker.url, { system, service: "warehouse", closeTimeoutMs: 1_000 }));
    const till = cleanup(await connect(ownBroker.url, { system, service: "till", closeTimeoutMs: 1_000 }));
    const begun = Promise.withResolvers<void>();
    const gate = Promise.withResolvers<void>();
    await warehouse.respond(quote, async (request) => {
      begun.resolve();
      await gate.promise;
      return double(request);
    });
    const asked = numbers(1, 50).map((pieces) => failure(till.request(quote, lamps(pieces), { timeoutMs: 30_000 })));
    await begun.promise;
    await ownBroker.kill();
    for (const { error } of await Promise.all(asked)) {
      expect(error).toBeInstanceOf(ConnectionError);
      expect(error).toMatchObject({ retryable: true, outcome: "unknown" });
    }
    gate.resolve();
    await ownBroker.start();
    await expect
      .poll(() => failure(till.request(quote, lamps(3))), { timeout: 45_000 })
      .toMatchObject({
        error: { message: 'answered {"article":"lamp","cents":6}' },
      });
  });

  test("the only responder's link cut, 3 times: its queue is consumed again each time (pitfall 20)", async ({
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

  test("the requester's link cut, 3 times: the reply queue is a new one, and requests are answered again (pitfall 23)", async ({
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
          error: { message: expect.stringContaining("answered") },
        });
      expect(new Set(seen).size).toBe(round + 1);
      if (round < 3) proxy.cut();
    }
  });

  test("the requester's links cut under load: each of 200 gets an answer or an error at once, then answers again", async ({
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

  test("no connection at all: an error within the caller's limit, and nothing was executed (pitfall 4)", async ({
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

  test("closed while requests are pending: they end with it, told that their outcome is unknown", async ({
    vhost,
    cleanup,
  }) => {
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

describe("handler fails: answered with a typed error, or a plain failure that shows no internals", () => {
  test("a declared error arrives as that error, with validated details (pitfall 76)", async ({ vhost, cleanup }) => {
    const warehouse = cleanup(await connect(vhost.url, { system, service: "warehouse" }));
    await warehouse.respond(quote, ({ article }) => {
      throw new OperationError(quote, "sold_out", { article, stock: 0 } as { article: string });
    });
    const till = cleanup(await connect(vhost.url, { system, service: "till" }));
    const { error } = await failure(till.request(quote, lamps(1)));
    expect(error).toBeInstanceOf(OperationError);
    expect(OperationError.is(error, quote, "sold_out") && error.details).toEqual({ article: "lamp" });
    expect(error).toMatchObject({ code: "AMQP_KIT_OPERATION", contract: "quote", error: "sold_out", retryable: false });
  });

  test("on the wire a declared error is problem details, with its name as the code", async ({ vhost, cleanup }) => {
    const warehouse = cleanup(await connect(vhost.url, { system, service: "warehouse" }));
    await warehouse.respond(quote, ({ article }) => {
      throw new OperationError(quote, "sold_out", { article });
    });
    const requester = cleanup(await bareRequester(vhost.url, "shop", "quote"));
    const reply = await requester.ask(JSON.stringify(lamps(1)));
    expect(reply.properties.contentType).toBe("application/problem+json");
    expect(JSON.parse(reply.content.toString())).toEqual({
      type: "urn:amqp-kit:problem:sold_out",
      title: '"quote" ended with "sold_out".',
      code: "sold_out",
      retryable: false,
      details: { article: "lamp" },
    });
  });

  const secret = "Jane Doe, born 1980-01-01";
  const failures = [
    ["an Error", () => new Error(secret)],
    ["no Error at all", () => secret],
    ["nothing", () => undefined],
    [
      "an error that the operation does not declare",
      () => new OperationError(quote, secret as "sold_out", {} as never),
    ],
    [
      "a declared error whose details break their schema",
      () => new OperationError(quote, "sold_out", { article: 7 } as never),
    ],
    [
      "another operation's error",
      () => new OperationError({ ...quote, name: "other" }, "sold_out", { article: secret }),
    ],
    ["an error of the kit", () => new NoResponderError(quote, "unknown", secret)],
  ] as const;

  test.for(failures)(
    "thrown: %s; the requester gets a plain failure without text or stack (pitfalls 8, 70, 123)",
    async ([, thrown], { vhost, cleanup }) => {
      const logger = recordingLogger();
      const warehouse = cleanup(await connect(vhost.url, { system, service: "warehouse", logger }));
      await warehouse.respond(quote, async ({ article }) => {
        if (article === "lamp") return { article, cents: 1 };
        throw thrown();
      });
      const requester = cleanup(await bareRequester(vhost.url, "shop", "quote"));
      const reply = await requester.ask(JSON.stringify({ article: "sofa", pieces: 1 }));
      expect(reply.properties.contentType).toBe("application/problem+json");
      expect(JSON.parse(reply.content.toString())).toEqual({
        type: "urn:amqp-kit:problem:internal_error",
        title: "The request failed",
        code: "internal_error",
        retryable: true,
      });
      expect(JSON.stringify(logger.lines)).not.toContain(secret);
      const till = cleanup(await connect(vhost.url, { system, service: "till" }));
      const { error } = await failure(till.request(quote, { article: "sofa", pieces: 1 }));
      expect(error).toBeInstanceOf(RemoteError);
      expect(error).toMatchObject({ remoteCode: "internal_error", retryable: true, contract: "quote" });
      // A failing request does not hold up the next
      expect(await till.request(quote, lamps(1))).toEqual({ article: "lamp", cents: 1 });
    },
  );

  test("an answer that breaks its schema is a plain failure; one over the limit says so", async ({
    vhost,
    cleanup,
  }) => {
    const logger = recordingLogger();
    const warehouse = cleanup(await connect(vhost.url, { system, service: "warehouse", logger }));
    await warehouse.respond(quote, ({ article }) =>
      article === "sofa" ? { article: "x".repeat(1024 * 1024), cents: 1 } : ({ article: secret } as Quote),
    );
    const till = cleanup(await connect(vhost.url, { system, service: "till" }));
    expect((await failure(till.request(quote, lamps(1)))).error).toMatchObject({ remoteCode: "internal_error" });
    const tooLarge = await failure(till.request(quote, { article: "sofa", pieces: 1 }));
    expect(tooLarge.error).toMatchObject({ remoteCode: "response_too_large", retryable: false });
    expect(tooLarge.error).toMatchObject({
      message: expect.stringMatching(/takes 10486\d\d bytes; the limit is 1048576/),
    });
    expect(JSON.stringify(logger.lines)).not.toContain(secret);
    // The one who can mend it learns which field broke which rule
    expect(JSON.stringify(logger.lines)).toContain("cents");
  });

  const strangers = [
    ["invalid JSON", "{", {}, "invalid_response"],
    ["an answer that breaks its schema", '{"article":7}', {}, "invalid_response"],
    ["another content type", "<a/>", { contentType: "text/xml" }, "invalid_response"],
    ["an answer over the limit", Buffer.alloc(1024 * 1024 + 1, " "), {}, "response_too_large"],
    ["an unreadable problem", "{", { contentType: "application/problem+json" }, "internal_error"],
    [
      "a problem of its own",
      '{"code":"out_of_paper"}',
      { contentType: "Application/Problem+JSON; charset=utf-8" },
      "out_of_paper",
    ],
    [
      "a declared error with wrong details",
      '{"code":"sold_out","details":{}}',
      { contentType: "application/problem+json" },
      "invalid_response",
    ],
    ["a problem that is no object", "null", { contentType: "application/problem+json" }, "internal_error"],
  ] as const;

  test.for(strangers)(
    "a stranger answers %s: the caller's own request is not to blame (pitfall 76)",
    async ([, body, properties, code], { vhost, cleanup }) => {
      cleanup(await bareResponder(vhost.url, "shop", "quote", () => ({ body, properties })));
      const till = cleanup(await connect(vhost.url, { system, service: "till" }));
      const { error } = await failure(till.request(quote, lamps(1)));
      expect(error).toBeInstanceOf(RemoteError);
      expect(error).toMatchObject({ remoteCode: code, contract: "quote" });
    },
  );
});

describe("receiver too slow: concurrency is bounded, requests expire", () => {
  test.for([
    { concurrency: 10, options: {} },
    { concurrency: 3, options: { concurrency: 3 } },
  ])(
    "no more than $concurrency requests are at work at a time; what waits, waits in the queue",
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

  test("whoever asks again as soon as it is refused, with 1,000 pending, does not keep the answers away (pitfall 7a)", async ({
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

  test("with 1,000 requests pending in a process the next is refused at once", async ({ vhost, cleanup }) => {
    const warehouse = cleanup(await connect(vhost.url, { system, service: "warehouse" }));
    const gate = Promise.withResolvers<void>();
    await warehouse.respond(quote, (request) => gate.promise.then(() => double(request)));
    const till = cleanup(await connect(vhost.url, { system, service: "till" }));
    const asked = numbers(1, 1_000).map((pieces) => till.request(quote, lamps(pieces), { timeoutMs: 20_000 }));
    const { error, ms } = await failure(till.request(quote, lamps(1)));
    expect(error).toBeInstanceOf(TooManyRequestsError);
    expect(error).toMatchObject({ maxPending: 1_000, outcome: "not-executed", retryable: true });
    expect(ms).toBeLessThan(100);
    gate.resolve();
    expect((await Promise.all(asked)).map(({ cents }) => cents)).toEqual(numbers(1, 1_000).map((n) => n * 2));
    expect(await till.request(quote, lamps(1))).toEqual({ article: "lamp", cents: 2 });
  });
});
