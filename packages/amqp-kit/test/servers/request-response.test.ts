import { type Cleanup, test } from "@amqp-idioms/local-servers/vitest";
import { describe, expect } from "vitest";
import { connect, NoResponderError } from "../../src/index.ts";
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

describe("no responder: a clear, immediate error instead of a timeout", () => {
  const absences = [
    { what: "no queue is bound", why: "no queue is bound", outcome: "not-executed" },
    { what: "the exchange does not exist", why: 'exchange "shop" does not exist', outcome: "unknown" },
    { what: "a queue is left without consumers", why: "no consumers", outcome: "unknown" },
    { what: "the queue is deleted with the request in it", why: "deleted", outcome: "unknown" },
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

  test("a responder that starts later is found without a restart of the requester", async ({ vhost, cleanup }) => {
    const till = cleanup(await connect(vhost.url, { system, service: "till" }));
    for (const round of [1, 2, 3]) {
      await expect(till.request(quote, lamps(round))).rejects.toThrow(NoResponderError);
      const warehouse = await connect(vhost.url, { system, service: "warehouse" });
      await warehouse.respond(quote, double);
      expect(await till.request(quote, lamps(round))).toEqual({ article: "lamp", cents: round * 2 });
      await warehouse.close();
    }
  });

  test("the last responder is killed with the request in flight: the error comes immediately, not at the time limit (pitfall 66)", async ({
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
