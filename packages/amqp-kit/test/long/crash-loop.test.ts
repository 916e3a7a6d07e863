import { amqpMethods, createVirtualHost, startProxy } from "@amqp-idioms/local-servers";
import type { Proxy, VirtualHost } from "@amqp-idioms/local-servers";
import { type Cleanup, test as onSharedBroker } from "@amqp-idioms/local-servers/vitest";
import { describe, expect } from "vitest";
import { connect } from "../../src/index.ts";
import { orderPlaced, system } from "../contracts.ts";
import { billingProcess, billingQueue, numbers, order, ordersOf, setAside } from "../orders.ts";
import { holdNext } from "../peers/bare-notify.ts";
import { recordEvents } from "../recording.ts";

const test = onSharedBroker.extend("quorumHost", async ({ broker, cleanup }): Promise<VirtualHost> =>
  cleanup(await createVirtualHost(broker, { defaultQueueType: "quorum" })),
);

describe("on a quorum queue, which counts how often a message came back", () => {
  test(
    "a message that repeatedly kills its process is dead-lettered, its nine neighbours are handled, none is lost (pitfalls 83, 86)",
    { timeout: 120_000 },
    async ({ quorumHost: vhost, cleanup }) => {
      const till = cleanup(await connect(vhost.url, { system, service: "till" }));
      const killer = 5;
      for (const pieces of numbers(1, 10)) {
        await till.notify(orderPlaced, order(pieces, pieces === killer ? "killer" : "lamp"));
      }
      const begun: number[][] = [];
      const handled: number[] = [];
      let crashes = 0;
      for (let isOver = false; !isOver;) {
        const billing = cleanup(await billingProcess(vhost.url, { CONCURRENCY: "10", WORK_MS: "150" }));
        const over = async (): Promise<boolean> => !billing.isRunning || (await setAside(vhost)).length > 0;
        await expect.poll(over, { interval: 100, timeout: 30_000 }).toBe(true);
        isOver = billing.isRunning;
        if (isOver) await expect.poll(() => new Set([...handled, ...ordersOf(billing, "handled")]).size).toBe(9);
        else crashes++;
        begun.push(ordersOf(billing, "begun"));
        handled.push(...ordersOf(billing, "handled"));
        await billing.stop();
      }
      expect(handled.toSorted((a, b) => a - b)).toEqual(numbers(1, 10).filter((pieces) => pieces !== killer));
      expect(crashes).toBe(10);
      // In the first two crashes it had company, from then on it died alone
      expect(begun[0]?.length).toBeGreaterThan(1);
      for (const later of begun.slice(2, crashes)) expect(later.at(-1)).toBe(killer);
      const dead = await setAside(vhost);
      expect(dead).toHaveLength(1);
      expect(JSON.parse(dead[0]?.payload ?? "")).toMatchObject({ pieces: killer });
      expect(dead[0]?.properties.headers).toMatchObject({
        "amqp-kit-reason": "too_many_deliveries",
        "amqp-kit-error": expect.stringContaining("returned 10 times"),
        "amqp-kit-attempt": 1,
      });
      await expect.poll(async () => (await vhost.management.queue(vhost.name, billingQueue))?.messages).toBe(0);
    },
  );

  test("a message that may have killed its process waits until the others in flight are settled, and is then handled alone (pitfall 86)", async ({
    quorumHost: vhost,
    cleanup,
  }) => {
    const { till, billing, holder, bothCancelled } = await openWithSuspect(vhost, cleanup);
    const gate = Promise.withResolvers<void>();
    const log: string[] = [];
    await billing.subscribe(
      orderPlaced,
      async ({ pieces }) => {
        log.push(`begin ${pieces}`);
        await gate.promise;
        log.push(`end ${pieces}`);
      },
      { concurrency: 5 },
    );
    await till.notify(orderPlaced, order(2));
    await till.notify(orderPlaced, order(3));
    await expect.poll(() => log).toEqual(["begin 2", "begin 3"]);
    await holder.close();
    await bothCancelled;
    await till.notify(orderPlaced, order(4));
    expect(log).toEqual(["begin 2", "begin 3"]);
    gate.resolve();
    await expect.poll(() => log.slice(2, 4).toSorted()).toEqual(["end 2", "end 3"]);
    await expect.poll(() => log.slice(4)).toEqual(["begin 1", "end 1", "begin 4", "end 4"]);
  });

  for (const [hung, which] of [
    [1, "of such a message"],
    [2, "that such a message waits for"],
  ]) {
    test(`the handler ${which} never returns: the others wait only until its channel is lost`, async ({
      quorumHost: vhost,
      cleanup,
    }) => {
      const { till, billing, holder, bothCancelled, proxy } = await openWithSuspect(vhost, cleanup, 500);
      const gate = Promise.withResolvers<void>();
      const never = Promise.withResolvers<void>();
      const begun: number[] = [];
      const handled: number[] = [];
      await billing.subscribe(
        orderPlaced,
        async ({ pieces }) => {
          begun.push(pieces);
          await gate.promise;
          if (pieces === hung && begun.filter((one) => one === hung).length === 1) await never.promise;
          handled.push(pieces);
        },
        { concurrency: 5 },
      );
      await till.notify(orderPlaced, order(2));
      await expect.poll(() => begun).toEqual([2]);
      await holder.close();
      await bothCancelled;
      gate.resolve();
      await expect.poll(() => begun).toContain(hung);
      proxy.cut();
      await expect.poll(() => handled).toEqual(expect.arrayContaining([1, 2]));
      await till.notify(orderPlaced, order(3));
      await expect.poll(() => handled).toContain(3);
    });
  }

  test("a failing handler never runs into that limit: 500 failures of one message (pitfalls 84, 85)", async ({
    quorumHost: vhost,
    cleanup,
  }) => {
    const till = cleanup(await connect(vhost.url, { system, service: "till" }));
    const billing = cleanup(await connect(vhost.url, { system, service: "billing" }));
    const attempts: number[] = [];
    await billing.subscribe(
      orderPlaced,
      (_, { attempt }) => {
        attempts.push(attempt);
        throw new Error("not yet");
      },
      { retryDelaysMs: Array.from({ length: 499 }, () => 1) },
    );
    await till.notify(orderPlaced, order(1));
    await expect.poll(() => attempts.length, { timeout: 45_000, interval: 100 }).toBe(500);
    expect(attempts).toEqual(numbers(1, 500));
    await expect
      .poll(async () => (await setAside(vhost))[0]?.properties.headers)
      .toMatchObject({
        "amqp-kit-reason": "handler_failed",
        "amqp-kit-attempt": 500,
      });
  });

  test("a sender's own header of that name is ignored even if the message is redelivered", async ({
    quorumHost: vhost,
    cleanup,
  }) => {
    const forged = await receiveForged(vhost, cleanup);
    expect(forged).toEqual({ attempts: [1], setAside: 0 });
  });
});

test("on a classic queue, which does not count, a sender's own header of that name is ignored", async ({
  vhost,
  cleanup,
}) => {
  expect(await receiveForged(vhost, cleanup)).toEqual({ attempts: [1], setAside: 0 });
});

test("concurrency grows from one at a time to its limit, and no further", async ({ vhost, cleanup }) => {
  const till = cleanup(await connect(vhost.url, { system, service: "till" }));
  const billing = cleanup(await connect(vhost.url, { system, service: "billing" }));
  const gate = Promise.withResolvers<void>();
  let atWork = 0;
  await billing.subscribe(
    orderPlaced,
    async () => {
      atWork++;
      await gate.promise;
    },
    { concurrency: 7 },
  );
  await Promise.all(numbers(1, 20).map((pieces) => till.notify(orderPlaced, order(pieces))));
  await expect
    .poll(() => vhost.management.queue(vhost.name, billingQueue))
    .toMatchObject({ messages_ready: 13, messages_unacknowledged: 7 });
  expect(atWork).toBe(7);
  gate.resolve();
  await expect.poll(() => atWork).toBe(20);
});

/** Two processes end with the queue's next message in hand. @returns a third one, which has it for now */
async function makeSuspect({ url }: VirtualHost): Promise<{ close(): Promise<void> }> {
  await (await holdNext(url, billingQueue)).close();
  await (await holdNext(url, billingQueue)).close();
  return holdNext(url, billingQueue);
}

/** Order 1 is suspect and `holder` has it. Billing's connection is watched, and it subscribes to nothing yet. */
async function openWithSuspect(vhost: VirtualHost, cleanup: Cleanup, closeTimeoutMs = 5_000) {
  const till = cleanup(await connect(vhost.url, { system, service: "till" }));
  await till.notify(orderPlaced, order(1));
  const holder = await makeSuspect(vhost);
  const proxy = cleanup(await startProxy(vhost.url));
  const bothCancelled = untilBothCancelled(proxy);
  const billing = cleanup(await connect(proxy.url, { system, service: "billing", closeTimeoutMs }));
  return { till, billing, holder, proxy, bothCancelled };
}

/** Resolves when a subscriber takes nothing any more, of one at a time and of more. */
function untilBothCancelled(proxy: Proxy): Promise<void> {
  const { promise, resolve } = Promise.withResolvers<void>();
  let cancelled = 0;
  proxy.filter(({ method }) => {
    if (method === amqpMethods.basicCancelOk && ++cancelled === 2) resolve();
    return "pass";
  });
  return promise;
}

/** A message whose sender claims that it came back 99 times, and that did come back once. */
async function receiveForged(
  vhost: VirtualHost,
  cleanup: <T extends AsyncDisposable>(opened: T) => T,
): Promise<{ attempts: number[]; setAside: number }> {
  using events = recordEvents("dead-lettered");
  const till = cleanup(await connect(vhost.url, { system, service: "till" }));
  const billing = cleanup(await connect(vhost.url, { system, service: "billing" }));
  await vhost.management.publish(vhost.name, {
    exchange: "",
    routingKey: billingQueue,
    body: JSON.stringify(order(1)),
    properties: { content_type: "application/json", headers: { "x-delivery-count": 99, "x-acquired-count": 99 } },
  });
  // Looked at and put back: from now on it is marked as redelivered
  expect(await vhost.management.getMessages(vhost.name, billingQueue)).toHaveLength(1);
  const attempts: number[] = [];
  const marker = Promise.withResolvers<void>();
  await billing.subscribe(orderPlaced, ({ pieces }, { attempt, redelivered }) => {
    if (pieces === 2) marker.resolve();
    else if (redelivered) attempts.push(attempt);
  });
  await till.notify(orderPlaced, order(2));
  await marker.promise;
  return { attempts, setAside: events.all.length };
}
