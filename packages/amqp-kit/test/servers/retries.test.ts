import { test } from "@amqp-idioms/local-servers/vitest";
import { describe, expect } from "vitest";
import { connect, Reject, RemoteError, RetryLater, UsageError } from "../../src/index.ts";
import type { SubscribeOptions } from "../../src/index.ts";
import { orderPlaced, quote, system } from "../contracts.ts";
import { billingQueue, numbers, order, setAside } from "../orders.ts";
import { otherCopy } from "../other-copy.ts";
import { bareNotifier } from "../peers/bare-notify.ts";
import { recordEvents, recordingLogger } from "../recording.ts";
import { json } from "../retrying.ts";

describe("a message whose handler failed", () => {
  test("goes to the back of its queue, behind all messages that arrived meanwhile", async ({ vhost, cleanup }) => {
    const till = cleanup(await connect(vhost.url, { system, service: "till" }));
    const billing = cleanup(await connect(vhost.url, { system, service: "billing" }));
    const gate = Promise.withResolvers<void>();
    const begun: number[] = [];
    await billing.subscribe(
      orderPlaced,
      async ({ pieces }, { attempt }) => {
        begun.push(pieces);
        if (pieces === 1 && attempt === 1) throw new Error("not yet");
        if (pieces === 2) await gate.promise;
      },
      { retryDelaysMs: [300] },
    );
    for (const pieces of numbers(1, 4)) await till.notify(orderPlaced, order(pieces));
    await expect
      .poll(() => vhost.management.queue(vhost.name, billingQueue))
      .toMatchObject({ messages_ready: 3, messages_unacknowledged: 1 });
    gate.resolve();
    await expect.poll(() => begun).toEqual([1, 2, 3, 4, 1]);
  });
});

describe("the number of attempts, and when the first one failed", () => {
  test("cannot be set by a sender: absurd headers are ignored (pitfall 87)", async ({ vhost, cleanup }) => {
    cleanup(await connect(vhost.url, { system, service: "till" }));
    const billing = cleanup(await connect(vhost.url, { system, service: "billing" }));
    const attempts = new Map<number, number[]>();
    await billing.subscribe(
      orderPlaced,
      ({ pieces }, { attempt }) => {
        attempts.set(pieces, [...(attempts.get(pieces) ?? []), attempt]);
        throw new Error("never");
      },
      { retryDelaysMs: [20, 30] },
    );
    const absurd: Record<string, unknown>[] = [
      { "amqp-kit-attempt": 3 },
      { "amqp-kit-attempt": 1e9, "amqp-kit-first-failed-at": "1970-01-01T00:00:00Z" },
      { "amqp-kit-attempt": -7, "amqp-kit-first-failed-at": { a: 1 } },
      { "amqp-kit-attempt": "many", "x-death": [{ count: 1e9, queue: billingQueue, reason: "rejected" }] },
      { "x-death": 7, "x-delivery-count": 1e9, "x-acquired-count": -1, "x-first-death-queue": billingQueue },
      { "amqp-kit-queue": "elsewhere", "amqp-kit-reason": "rejected", "amqp-kit-error-path": "forged" },
    ];
    const before = new Date().toISOString();
    for (const [index, headers] of absurd.entries()) {
      // Also by the routing key of what comes back
      for (const routingKey of ["", "again"]) {
        const body = JSON.stringify(order(routingKey === "" ? index + 1 : index + 101));
        const properties = { ...json, headers };
        await vhost.management.publish(vhost.name, { exchange: "order.placed", routingKey, body, properties });
      }
    }
    await expect.poll(() => setAside(vhost)).toHaveLength(2 * absurd.length);
    for (const each of attempts.values()) expect(each).toEqual([1, 2, 3]);
    for (const { properties } of await setAside(vhost)) {
      const headers = properties.headers ?? {};
      expect(headers).toMatchObject({
        "amqp-kit-attempt": 3,
        "amqp-kit-queue": billingQueue,
        "amqp-kit-reason": "handler_failed",
      });
      expect(String(headers["amqp-kit-first-failed-at"]) >= before).toBe(true);
      expect(Object.keys(headers).filter((name) => name.startsWith("x-"))).toEqual([]);
      expect(headers).not.toHaveProperty("amqp-kit-error-path");
    }
  });
});

describe("a handler that says whether another attempt makes sense", () => {
  test("RetryLater waits the first delay that is not shorter, or the longest, and uses up an attempt", async ({
    vhost,
    cleanup,
  }) => {
    using retries = recordEvents("retried");
    const till = cleanup(await connect(vhost.url, { system, service: "till" }));
    const billing = cleanup(await connect(vhost.url, { system, service: "billing" }));
    const wishes = [120, 60_000, 0, 400];
    await billing.subscribe(
      orderPlaced,
      (_, { attempt }) => {
        throw new RetryLater({ delayMs: wishes[attempt - 1] ?? 0 });
      },
      { retryDelaysMs: [50, 300, 500] },
    );
    await till.notify(orderPlaced, order(1));
    await expect.poll(() => setAside(vhost)).toHaveLength(1);
    expect(retries.all.map(({ delayMs }) => delayMs)).toEqual([300, 500, 50]);
    expect((await setAside(vhost))[0]?.properties.headers).toMatchObject({
      "amqp-kit-attempt": 4,
      "amqp-kit-reason": "handler_failed",
      "amqp-kit-error": "RetryLater: The handler asked for another attempt in 400 ms.",
      "amqp-kit-error-code": "AMQP_KIT_RETRY_LATER",
    });
  });

  test("a long delay does not block a short one (pitfall 90)", async ({ vhost, cleanup }) => {
    const till = cleanup(await connect(vhost.url, { system, service: "till" }));
    const billing = cleanup(await connect(vhost.url, { system, service: "billing" }));
    const again: number[] = [];
    await billing.subscribe(
      orderPlaced,
      ({ pieces }, { attempt }) => {
        if (attempt === 1) throw new RetryLater({ delayMs: pieces === 1 ? 3_000 : 100 });
        again.push(pieces);
      },
      { retryDelaysMs: [100, 3_000] },
    );
    await till.notify(orderPlaced, order(1));
    await till.notify(orderPlaced, order(2));
    await expect.poll(() => again).toEqual([2, 1]);
  });

  test("Reject of another copy of the kit in the process decides like this copy's", async ({ vhost, cleanup }) => {
    const till = cleanup(await connect(vhost.url, { system, service: "till" }));
    const billing = cleanup(await connect(vhost.url, { system, service: "billing" }));
    expect(otherCopy.Reject).not.toBe(Reject);
    await billing.subscribe(orderPlaced, () => Promise.reject(new otherCopy.Reject("this article was discontinued")));
    await till.notify(orderPlaced, order(1));
    await expect.poll(() => setAside(vhost)).toHaveLength(1);
    expect((await setAside(vhost))[0]?.properties.headers).toMatchObject({
      "amqp-kit-reason": "rejected",
      "amqp-kit-error": "Reject: this article was discontinued",
    });
  });

  test("Reject dead-letters the message immediately, with the handler's message", async ({ vhost, cleanup }) => {
    using retries = recordEvents("retried");
    const logger = recordingLogger();
    const till = cleanup(await connect(vhost.url, { system, service: "till" }));
    const billing = cleanup(await connect(vhost.url, { system, service: "billing", version: "1.2.3", logger }));
    await billing.subscribe(orderPlaced, () => Promise.reject(new Reject("this article was discontinued")));
    await till.notify(orderPlaced, order(1));
    await expect.poll(() => setAside(vhost)).toHaveLength(1);
    expect((await setAside(vhost))[0]?.properties.headers).toMatchObject({
      "amqp-kit-attempt": 1,
      "amqp-kit-reason": "rejected",
      "amqp-kit-error": "Reject: this article was discontinued",
      "amqp-kit-error-code": "AMQP_KIT_REJECT",
      "amqp-kit-service": "billing",
      "amqp-kit-service-version": "1.2.3",
    });
    expect(retries.all).toEqual([]);
    expect(logger.lines).toContainEqual(
      expect.objectContaining({
        level: "error",
        message: "message dead-lettered",
        facts: expect.objectContaining({ reason: "rejected" }),
      }),
    );
  });
});

describe("the headers of a dead-lettered message", () => {
  test("say what failed and when, without a value or a stack, and stay within their limit (pitfall 44)", async ({
    vhost,
    cleanup,
  }) => {
    const billing = cleanup(await connect(vhost.url, { system, service: "billing" }));
    const keys: (string | undefined)[] = [];
    await billing.subscribe(
      orderPlaced,
      ({ article }, { idempotencyKey }) => {
        keys.push(idempotencyKey);
        const error = new Error(`no bill for ${article} ${"é".repeat(100_000)}`);
        throw Object.assign(error, { code: keys.length === 1 ? article : "23505" });
      },
      { retryDelaysMs: [200] },
    );
    const stranger = cleanup(await bareNotifier(vhost.url, "order.placed", ["billing"]));
    const headers = { "idempotency-key": "the same", fat: "x".repeat(32 * 1024 - 100) };
    await stranger.notify(JSON.stringify(order(1, "Maria Schmidt")), { messageId: "fat", headers });
    await expect.poll(() => setAside(vhost)).toHaveLength(1);
    expect(keys).toEqual(["the same", "the same"]);
    const dead = (await setAside(vhost))[0]?.properties.headers ?? {};
    expect(dead).toEqual({
      "idempotency-key": "the same",
      "amqp-kit-headers-dropped": expect.any(Number),
      "amqp-kit-attempt": 2,
      "amqp-kit-queue": billingQueue,
      "amqp-kit-service": "billing",
      "amqp-kit-reason": "handler_failed",
      "amqp-kit-error": "Error (23505)",
      "amqp-kit-error-code": "23505",
      "amqp-kit-first-failed-at": expect.stringMatching(/^\d{4}-\d\d-\d\dT[\d:.]+Z$/),
      "amqp-kit-last-failed-at": expect.stringMatching(/^\d{4}-\d\d-\d\dT[\d:.]+Z$/),
    });
    const at = (name: string): number => Date.parse(String(dead[`amqp-kit-${name}-failed-at`]));
    expect(at("last") - at("first")).toBeGreaterThanOrEqual(190);
    expect(Buffer.byteLength(JSON.stringify(dead))).toBeLessThan(32 * 1024);
    expect(JSON.stringify(dead)).not.toContain("Maria");
  });

  test("name another responder's error without its text", async ({ vhost, cleanup }) => {
    const till = cleanup(await connect(vhost.url, { system, service: "till" }));
    const billing = cleanup(await connect(vhost.url, { system, service: "billing" }));
    await billing.subscribe(
      orderPlaced,
      () => {
        throw new RemoteError(quote, { code: "other", detail: "no Maria Schmidt", retryable: false, issues: [] });
      },
      { retryDelaysMs: [] },
    );
    await till.notify(orderPlaced, order(1));
    await expect.poll(() => setAside(vhost)).toHaveLength(1);
    const headers = (await setAside(vhost))[0]?.properties.headers;
    expect(headers).toMatchObject({ "amqp-kit-error": "RemoteError (AMQP_KIT_REMOTE)" });
    expect(JSON.stringify(headers)).not.toContain("Maria");
  });
});

describe('retried in place (retry: "in-place")', () => {
  test("the messages behind it wait until it is handled or dead-lettered", async ({ vhost, cleanup }) => {
    const till = cleanup(await connect(vhost.url, { system, service: "till" }));
    const billing = cleanup(await connect(vhost.url, { system, service: "billing" }));
    const begun: string[] = [];
    const at: number[] = [];
    await billing.subscribe(
      orderPlaced,
      ({ pieces }, { attempt }) => {
        begun.push(`${pieces}, attempt ${attempt}`);
        if (pieces === 1) at.push(performance.now());
        if (pieces === 1 || (pieces === 2 && attempt === 1)) throw new Error("not yet");
        if (pieces === 3) throw new Reject("out of paper");
      },
      { retry: "in-place", retryDelaysMs: [100, 250] },
    );
    for (const pieces of numbers(1, 4)) await till.notify(orderPlaced, order(pieces));
    await expect.poll(() => begun.at(-1)).toBe("4, attempt 1");
    expect(begun).toEqual([
      "1, attempt 1",
      "1, attempt 2",
      "1, attempt 3",
      "2, attempt 1",
      "2, attempt 2",
      "3, attempt 1",
      "4, attempt 1",
    ]);
    expect((at[1] ?? 0) - (at[0] ?? 0)).toBeGreaterThanOrEqual(98);
    expect((at[2] ?? 0) - (at[1] ?? 0)).toBeGreaterThanOrEqual(248);
    const dead = (await setAside(vhost)).map(({ properties: { headers = {} } }) => headers);
    expect(dead).toMatchObject([
      { "amqp-kit-attempt": 3, "amqp-kit-reason": "handler_failed" },
      { "amqp-kit-attempt": 1, "amqp-kit-reason": "rejected" },
    ]);
    const [first] = dead;
    const time = (name: string): number => Date.parse(String(first?.[`amqp-kit-${name}-failed-at`]));
    expect(time("last") - time("first")).toBeGreaterThanOrEqual(340);
    const names = (await vhost.management.queues(vhost.name)).map(({ name }) => name);
    expect(names.filter((name) => name.includes(".delay."))).toEqual([]);
  });

  test("is refused beside concurrency, and for longer than a broker waits", async ({ vhost, cleanup }) => {
    const billing = cleanup(await connect(vhost.url, { system, service: "billing" }));
    const wrong: object[] = [
      { retry: "in-place", concurrency: 2 },
      { retry: "in place" },
      { retry: "in-place", retryDelaysMs: [1_500_001] },
      { isAvailable: true },
    ];
    for (const options of wrong) {
      await expect(billing.subscribe(orderPlaced, () => undefined, options)).rejects.toBeInstanceOf(UsageError);
    }
    const longest: SubscribeOptions = { retry: "in-place", concurrency: 1, retryDelaysMs: [900_000, 600_000] };
    await billing.subscribe(orderPlaced, () => undefined, longest);
  });
});
