import { basename } from "node:path";
import { fileURLToPath } from "node:url";
import { setTimeout as sleep } from "node:timers/promises";
import { amqpMethods, startProcess, startProxy, type ServiceProcess } from "@amqp-idioms/local-servers";
import { type Cleanup, test } from "@amqp-idioms/local-servers/vitest";
import { describe, expect } from "vitest";
import { z } from "zod";
import {
  ClosedError,
  connect,
  ConnectionError,
  defineSystem,
  InvalidMessageError,
  MessageTooLargeError,
  NoResponderError,
  operation,
  OperationError,
  RemoteError,
  type RequestOptions,
  RequestTimeoutError,
  TooManyRequestsError,
  TopologyError,
  UsageError,
} from "../../src/index.ts";
import { quote, Quote, QuoteRequest, system } from "../contracts.ts";
import { bareRequester, bareResponder, bareTopology } from "../peers/bare-request-response.ts";
import { recordEvents, recordingLogger } from "../recording.ts";

type Ask = (request: QuoteRequest, options?: { idempotencyKey?: string }) => Promise<Quote>;
type QuoteRequest = z.output<typeof QuoteRequest>;
type Quote = z.output<typeof Quote>;

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

const lamps = (pieces: number): QuoteRequest => ({ article: "lamp", pieces });
const numbers = (from: number, to: number): number[] =>
  Array.from({ length: to - from + 1 }, (_, index) => from + index);
const double = ({ article, pieces }: QuoteRequest): Quote => ({ article, cents: pieces * 2 });

/** @returns what it rejects with, and after how long */
async function failure(asked: Promise<unknown>): Promise<{ error: unknown; ms: number }> {
  const startedAt = performance.now();
  try {
    const answer = await asked;
    return { error: new Error(`answered ${JSON.stringify(answer)}`), ms: performance.now() - startedAt };
  } catch (error) {
    return { error, ms: performance.now() - startedAt };
  }
}

const responderProcess = (url: string, env: Record<string, string> = {}): Promise<ServiceProcess> =>
  startProcess({
    main: fileURLToPath(new URL("../processes/responder.ts", import.meta.url)),
    env: { AMQP_URL: url, ...env },
  });
const begunBy = ({ lines }: ServiceProcess): unknown[] => lines.flatMap(({ json }) => json?.["begun"] ?? []);

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

  test.for(absences)("$what: NoResponderError within 500 ms", async ({ what, why, outcome }, { vhost, cleanup }) => {
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
  });

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

  test("the last responder is killed with the request in hand: the error comes at once, not at the time limit", async ({
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

  test("a request whose time limit passed in the queue is never begun", async ({ vhost, cleanup }) => {
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

  test("a request whose time limit passed in the socket of a frozen responder is never begun", async ({
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
  test("connections closed by an operator under 100 pending requests", async ({ vhost, cleanup }) => {
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

  test("the broker killed under 50 pending requests, and started again", async ({ ownBroker, cleanup }) => {
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

  test("the only responder's link cut, 3 times: its queue is consumed again each time", async ({ vhost, cleanup }) => {
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

  test("the requester's link cut, 3 times: the reply queue is a new one, and requests are answered again", async ({
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

  test("no connection at all: an error within the caller's limit, and nothing was executed", async ({
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
  test("a declared error arrives as that error, with validated details", async ({ vhost, cleanup }) => {
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
    "thrown: %s; the requester gets a plain failure without text or stack",
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
    "a stranger answers %s: the caller's own request is not to blame",
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
      expect(atWork).toBe(concurrency);
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

describe("an answer finds its own caller", () => {
  test("1,000 concurrent requests each get their own, also when it overtakes the confirm", async ({
    vhost,
    cleanup,
  }) => {
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

  test("with one reply queue for all of a process' requests", async ({ vhost, cleanup }) => {
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

  test("a late, doubled or foreign reply is ignored and counted", async ({ vhost, cleanup }) => {
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

  test("1,000 concurrent requests, half of them to nobody: each return ends its own request only", async ({
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

  test("the exchange deleted under 100 pending requests: those that got through are answered", async ({
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

  test("sees its own file in the stack of every error", async ({ vhost, cleanup }) => {
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
    "cannot say %j: it is refused before the wire",
    async ([options, message], { vhost, cleanup }) => {
      const till = cleanup(await connect(vhost.url, { system, service: "till" }));
      const { error } = await failure(till.request(quote, lamps(1), options));
      expect(error).toBeInstanceOf(UsageError);
      expect(error).toMatchObject({ message: expect.stringContaining(message) });
    },
  );

  test("learns at once, from JavaScript, that it has no role or no such contract", async ({ vhost, cleanup }) => {
    const till = cleanup(await connect(vhost.url, { system, service: "till" }));
    await expect(till.request(restock as never, lamps(1) as never)).rejects.toThrow(
      'list "restock" under its requests',
    );
    const warehouse = cleanup(await connect(vhost.url, { system, service: "warehouse" }));
    await expect(warehouse.respond(quote, "handler" as never)).rejects.toThrow(UsageError);
  });

  test("waits less than 5 ms for an answer, one request after the other", async ({ vhost, cleanup }) => {
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
    // Nagle's algorithm against delayed acknowledgements would make it 40 ms and more
    expect(times.toSorted((a, b) => a - b)[150]).toBeLessThan(5);
  });
});

describe("several responders", () => {
  test("three share the load, and one killed with -9 in mid-request hands over within the caller's time limit", async ({
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

  test("one that is stopped finishes what it has in hand, and the others go on", async ({ vhost, cleanup }) => {
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

  test("the last one stopped with a request in hand still answers it, and nobody is told otherwise", async ({
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

  test("a reply whose requester is gone is counted, and the responder goes on", async ({ vhost, cleanup }) => {
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
  test("a request whose reply_to is not a server-named reply queue is refused and counted, whatever else it is", async ({
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

  test("a request that nobody can be told of is refused also when it is malformed", async ({ vhost, cleanup }) => {
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

  test("a request queue that stands is used as it is, whoever declared it", async ({ vhost, cleanup }) => {
    const { channel } = cleanup(await bareTopology(vhost.url, "shop"));
    await channel.assertQueue("quote", { durable: true, arguments: { "x-max-length": 50 } });
    const warehouse = cleanup(await connect(vhost.url, { system, service: "warehouse" }));
    await warehouse.respond(quote, double);
    const till = cleanup(await connect(vhost.url, { system, service: "till" }));
    expect(await till.request(quote, lamps(1))).toEqual({ article: "lamp", cents: 2 });
  });

  test("the post's own queue, transient and shared, works where the broker permits it; else the error says what to do", async ({
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
});

const facts = { request: QuoteRequest, response: Quote, timeoutMs: 5_000 };
const restock = operation("restock", { exchange: "shop", ...facts });
const archive = operation("archive", { exchange: "archive", ...facts });
const postQuote = operation("post_quote", { exchange: "shop", requestQueue: "transient", ...facts });
const shop = defineSystem({
  till: { requests: [quote, restock, archive, postQuote] },
  warehouse: { responds: [quote, restock, archive, postQuote] },
});

async function openShop(url: string, cleanup: Cleanup) {
  const warehouse = cleanup(await connect(url, { system: shop, service: "warehouse" }));
  const till = cleanup(await connect(url, { system: shop, service: "till" }));
  return { till, warehouse };
}
