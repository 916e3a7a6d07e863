import { test } from "@amqp-idioms/local-servers/vitest";
import { describe, expect } from "vitest";
import { connect, Reject } from "../../src/index.ts";
import { orderPlaced, system } from "../contracts.ts";
import { numbers, order, setAside } from "../orders.ts";
import { recordEvents, recordingLogger } from "../recording.ts";
import { Shelf, state } from "../paused-subscription.ts";

describe("while what the handler needs is not available", () => {
  test("no message is consumed or counted as an attempt, none is lost or doubled, and consuming resumes in order afterwards", async ({
    vhost,
    cleanup,
  }) => {
    using paused = recordEvents("paused");
    using resumed = recordEvents("resumed");
    using retries = recordEvents("retried");
    const logger = recordingLogger();
    const shelf = new Shelf();
    const till = cleanup(await connect(vhost.url, { system, service: "till" }));
    const billing = cleanup(await connect(vhost.url, { system, service: "billing", logger }));
    const effects: { pieces: number; attempt: number }[] = [];
    let failures = 0;
    const subscribing = await billing.subscribe(
      orderPlaced,
      ({ pieces }, { attempt }) => {
        if (!shelf.isThere) failures++;
        shelf.use();
        effects.push({ pieces, attempt });
      },
      { isAvailable: shelf.isAvailable },
    );
    await till.notify(orderPlaced, order(1));
    await expect.poll(() => effects).toHaveLength(1);
    expect(shelf.asked).toEqual([]);

    shelf.isThere = false;
    for (const pieces of numbers(2, 30)) await till.notify(orderPlaced, order(pieces));
    await expect.poll(() => paused.all).toEqual([{ contract: "order.placed" }]);
    expect(billing.isReady).toBe(false);
    await expect.poll(() => state(vhost)).toMatchObject({ messages_ready: 29, messages_unacknowledged: 0 });
    await expect.poll(() => shelf.asked.length).toBeGreaterThan(3);
    expect(failures).toBe(1);

    shelf.isThere = true;
    const backAt = performance.now();
    await expect.poll(() => effects).toHaveLength(30);
    // Asked after half a second, since it was away for less than five
    expect(performance.now() - backAt).toBeLessThan(4_000);
    expect(effects).toEqual(numbers(1, 30).map((pieces) => ({ pieces, attempt: 1 })));
    expect(resumed.all).toEqual([{ contract: "order.placed", pausedMs: expect.any(Number) }]);
    expect(retries.all).toEqual([]);
    expect(billing.isReady).toBe(true);
    expect(logger.lines.map(({ message }) => message)).toEqual(
      expect.arrayContaining(["subscription paused: a dependency is unavailable", "subscription resumed"]),
    );
    await subscribing.stop();
  });

  test("a rejection means no; a handler that fails without an outage, or throws Reject, counts as usual", async ({
    vhost,
    cleanup,
  }) => {
    const till = cleanup(await connect(vhost.url, { system, service: "till" }));
    const billing = cleanup(await connect(vhost.url, { system, service: "billing" }));
    const attempts: [number, number][] = [];
    let answers = 0;
    await billing.subscribe(
      orderPlaced,
      ({ pieces }, { attempt }) => {
        attempts.push([pieces, attempt]);
        if (pieces === 2) throw new Reject("out of paper");
        throw new Error("out of paper");
      },
      {
        retryDelaysMs: [50],
        isAvailable: async () => {
          if (answers++ === 0) throw new Error("cannot tell");
          return true;
        },
      },
    );
    await till.notify(orderPlaced, order(1));
    await expect.poll(() => setAside(vhost)).toHaveLength(1);
    await till.notify(orderPlaced, order(2));
    await expect.poll(() => setAside(vhost)).toHaveLength(2);
    // The first time it was away, so it seemed, the other two it was there
    expect(attempts).toEqual([
      [1, 1],
      [1, 1],
      [1, 2],
      [2, 1],
    ]);
    expect(answers).toBe(4);
  });
});
