import { fileURLToPath } from "node:url";
import { startProcess } from "@amqp-idioms/local-servers";
import { test } from "@amqp-idioms/local-servers/vitest";
import { describe, expect } from "vitest";
import { connect, type Amqp, type Consuming } from "../../src/index.ts";
import { prices, system } from "../contracts.ts";
import { bareSender } from "../peers/bare-broadcast.ts";
import { countDrops } from "../recording.ts";
import { lamp, numbers } from "../broadcasting.ts";

/** Broadcasts again if the sender has dropped the message, as it does on a machine that stands still for a second. */
async function broadcastUntilSent(market: Amqp<(typeof system)["market"]>, cents: number): Promise<void> {
  using drops = countDrops("prices");
  const stalled = (): number => drops.byReason()["stalled"] ?? 0;
  let before: number;
  do {
    before = stalled();
    await market.broadcast(prices, lamp(cents));
  } while (stalled() > before);
}

describe("broadcast, to a listener", () => {
  test("receiver too slow: the queue of a frozen process is bounded and drops the oldest (pitfall 77)", async ({
    vhost,
    cleanup,
  }) => {
    const main = fileURLToPath(new URL("../processes/slow-listener.ts", import.meta.url));
    const listener = cleanup(await startProcess({ main, env: { AMQP_URL: vhost.url } }));
    const shown = (): unknown[] => listener.lines.flatMap(({ json }) => json?.["cents"] ?? []);
    const market = cleanup(await connect(vhost.url, { system, service: "market" }));
    await market.broadcast(prices, lamp(0));
    await expect.poll(shown).toEqual([0]);

    listener.freeze();
    const article = "x".repeat(256 * 1024);
    const queued = async (): Promise<number | undefined> =>
      (await vhost.management.queues(vhost.name)).find((queue) => queue.arguments["x-max-length"] === 20)?.messages;
    let last = 0;
    const sendSome = async (): Promise<void> => {
      for (let some = 0; some < 50; some++) await market.broadcast(prices, { article, cents: ++last });
    };
    await expect.poll(async () => (await sendSome(), queued()), { interval: 200, timeout: 30_000 }).toBe(20);
    await sendSome();
    await market.broadcast(prices, { article, cents: 1_000_000 });
    // A count that was gathered after the last one was sent
    const gathered = performance.now() + 3_000;
    await expect
      .poll(async () => [await queued(), performance.now() > gathered], { interval: 200 })
      .toEqual([20, true]);

    listener.thaw();
    await expect.poll(() => shown().at(-1)).toBe(1_000_000);
    expect(shown().length).toBeLessThan(last);
  });

  test("a listener gets nothing sent before listen and everything sent after it, while others join and leave 100 times (pitfall 81)", async ({
    vhost,
    cleanup,
  }) => {
    const market = cleanup(await connect(vhost.url, { system, service: "market" }));
    const board = cleanup(await connect(vhost.url, { system, service: "board" }));
    const other = cleanup(await connect(vhost.url, { system, service: "board" }));
    using drops = countDrops("prices");
    const heard: number[] = [];
    // On a machine that stands still for seconds, the sender drops messages, and counts them
    const dropped = (): number => (drops.byReason()["stalled"] ?? 0) + (drops.byReason()["disconnected"] ?? 0);
    const sent: number[] = [];
    let next = 1;
    const over = new AbortController();
    const sendUntilOver = async (): Promise<void> => {
      while (!over.signal.aborted) {
        const cents = next++;
        const droppedBefore = dropped();
        await market.broadcast(prices, lamp(cents));
        if (dropped() === droppedBefore) sent.push(cents);
      }
    };
    const sending = sendUntilOver();
    // Also when something below fails: before its connection is closed
    cleanup(async () => {
      over.abort();
      await sending;
    });
    const lastSent = (): number => sent.at(-1) ?? 0;
    // The broker has accepted it: the check of the exchange before the next one was answered
    const lastAccepted = (): number => sent.at(-2) ?? 0;
    await expect.poll(lastSent).toBeGreaterThan(10);
    const acceptedBefore = lastAccepted();
    await board.listen(prices, ({ cents }) => heard.push(cents));
    const firstAfter = next;

    /** Nothing up to `before`, and everything that was sent from `after` on. */
    const expectAllSent = (shown: readonly number[], before: number, after: number): void => {
      const [first = 0] = shown;
      expect(first).toBeGreaterThan(before);
      expect(first).toBeLessThanOrEqual(sent.find((cents) => cents >= after) ?? 0);
      expect(shown).toEqual(sent.filter((cents) => cents >= first && cents <= (shown.at(-1) ?? 0)));
    };
    const visit = async (): Promise<void> => {
      const visited: number[] = [];
      const before = lastAccepted();
      const listening = await other.listen(prices, ({ cents }) => visited.push(cents));
      const after = next;
      await expect.poll(() => visited.at(-1) ?? 0, { interval: 2 }).toBeGreaterThan(after);
      await listening.stop();
      // The last one is shown before its sender knows that it is written
      await expect.poll(lastSent, { interval: 2 }).toBeGreaterThanOrEqual(visited.at(-1) ?? 0);
      expectAllSent(visited, before, after);
    };
    const visits = async (): Promise<void> => {
      for (let count = 0; count < 25; count++) await visit();
    };
    await Promise.all([visits(), visits(), visits(), visits()]);
    over.abort();
    await sending;
    await expect.poll(() => heard.at(-1)).toBe(lastSent());
    expectAllSent(heard, acceptedBefore, firstAfter);
  });

  test("the first message after listen arrives even if the exchange was deleted just before (1,000 rounds) (pitfall 18)", async ({
    vhost,
    cleanup,
  }) => {
    const market = cleanup(await connect(vhost.url, { system, service: "market" }));
    const board = cleanup(await connect(vhost.url, { system, service: "board" }));
    const intoTheVoid = async (): Promise<void> => {
      for (let some = 0; some < 5; some++) await market.broadcast(prices, lamp(0));
    };
    const stranger = cleanup(await bareSender(vhost.url, "prices"));
    for (let round = 1; round <= 1_000; round++) {
      let voided: Promise<unknown> = Promise.resolve();
      if (round % 2 === 1) {
        await stranger.deleteExchange();
        await intoTheVoid();
      } else {
        // It goes while the sender sends, who still learns of it while the listener comes
        voided = Promise.all([intoTheVoid(), intoTheVoid()]);
        await stranger.deleteExchange();
      }
      const heard: number[] = [];
      const listening = await board.listen(prices, ({ cents }) => heard.push(cents));
      await broadcastUntilSent(market, round);
      await expect
        .poll(() => heard.includes(round), { interval: 1, timeout: 5_000, message: `round ${round}` })
        .toBe(true);
      await voided;
      await listening.stop();
    }
  }, 180_000);

  test("a listener that joins while another leaves hears the next message, 200 times (pitfall 81)", async ({
    vhost,
    cleanup,
  }) => {
    const market = cleanup(await connect(vhost.url, { system, service: "market" }));
    const boards = [
      cleanup(await connect(vhost.url, { system, service: "board" })),
      cleanup(await connect(vhost.url, { system, service: "board" })),
    ] as const;
    const heard: number[] = [];
    const listen = (turn: number): Promise<Consuming> =>
      boards[turn % 2 === 0 ? 0 : 1].listen(prices, ({ cents }) => heard.push(cents));
    let listening = await listen(0);
    for (let turn = 1; turn <= 200; turn++) {
      const [next] = await Promise.all([listen(turn), listening.stop()]);
      listening = next;
      await broadcastUntilSent(market, turn);
      await expect.poll(() => heard.at(-1), { interval: 1, timeout: 5_000, message: `turn ${turn}` }).toBe(turn);
    }
    expect(heard).toEqual(numbers(1, 200));
  });
});
