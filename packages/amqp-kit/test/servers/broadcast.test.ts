import { type Cleanup, test } from "@amqp-idioms/local-servers/vitest";
import { describe, expect } from "vitest";
import { connect } from "../../src/index.ts";
import { type Price, prices, system } from "../contracts.ts";
import { bareListener, bareSender } from "../peers/bare-broadcast.ts";
import { countDrops, recordingLogger } from "../recording.ts";
import { lamp, numbers } from "../broadcasting.ts";

/** Both roles, by the kit and by a stranger who knows only the wire table. */
const senders = {
  kit: async (url: string, cleanup: Cleanup) => {
    const market = cleanup(await connect(url, { system, service: "market" }));
    return (price: Price) => market.broadcast(prices, price);
  },
  bare: async (url: string, cleanup: Cleanup) => {
    const sender = cleanup(await bareSender(url, "prices"));
    return (price: Price) => sender.send(JSON.stringify(price));
  },
};

type Leave = () => Promise<void>;
const listeners = {
  kit: async (url: string, onCents: (cents: number) => void): Promise<Leave> => {
    const board = await connect(url, { system, service: "board" });
    await board.listen(prices, ({ cents }) => onCents(cents));
    return async () => void (await board.close());
  },
  bare: async (url: string, onCents: (cents: number) => void): Promise<Leave> => {
    const listener = await bareListener(url, "prices", ({ content }) => onCents(JSON.parse(content.toString()).cents));
    return () => listener[Symbol.asyncDispose]();
  },
};

const pairs = [
  { sender: "kit", listener: "kit" },
  { sender: "kit", listener: "bare" },
  { sender: "bare", listener: "kit" },
] as const;

describe.for(pairs)("broadcast, from $sender to $listener", (pair) => {
  test("at most once: each listener gets each update once, in the sender's order", async ({ vhost, cleanup }) => {
    const send = await senders[pair.sender](vhost.url, cleanup);
    const heard: number[][] = [[], []];
    for (const list of heard) cleanup(await listeners[pair.listener](vhost.url, (cents) => list.push(cents)));
    const sent = numbers(1, 500);
    await Promise.all(sent.map((cents) => send(lamp(cents))));
    await send(lamp(501));
    await expect.poll(() => heard.map((list) => list.at(-1))).toEqual([501, 501]);
    expect(heard).toEqual([numbers(1, 501), numbers(1, 501)]);
  });

  test("no receiver: the message is dropped, and the sender does not notice", async ({ vhost, cleanup }) => {
    const send = await senders[pair.sender](vhost.url, cleanup);
    await send(lamp(1));
    const heard: number[] = [];
    cleanup(await listeners[pair.listener](vhost.url, (cents) => heard.push(cents)));
    await send(lamp(2));
    await expect.poll(() => heard).toEqual([2]);
  });

  test("receiver is down: it misses what it missed", async ({ vhost, cleanup }) => {
    const send = await senders[pair.sender](vhost.url, cleanup);
    const heard: number[] = [];
    const leave = await listeners[pair.listener](vhost.url, (cents) => heard.push(cents));
    await send(lamp(1));
    await expect.poll(() => heard).toEqual([1]);
    await leave();
    await send(lamp(2));
    cleanup(await listeners[pair.listener](vhost.url, (cents) => heard.push(cents)));
    await send(lamp(3));
    await expect.poll(() => heard).toEqual([1, 3]);
  });
});

describe("broadcast, to a listener", () => {
  test("malformed message: dropped, counted, logged; the next one is shown", async ({ vhost, cleanup }) => {
    using drops = countDrops("prices");
    const logger = recordingLogger();
    const board = cleanup(await connect(vhost.url, { system, service: "board", logger }));
    const heard: number[] = [];
    await board.listen(prices, ({ cents }) => heard.push(cents));
    const sender = cleanup(await bareSender(vhost.url, "prices"));
    const malformed = ["", "{", '{"article":"Maria Schmidt"}', '{"article":"lamp","cents":-1}', Buffer.from([0xff])];
    for (const body of malformed) await sender.send(body);
    await sender.send(Buffer.alloc(1024 * 1024 + 1, "["));
    await sender.send("lamp 7", { contentType: "text/plain" });
    await expect.poll(() => heard).toEqual([7]);
    expect(drops.byReason()).toEqual({ "invalid-message": malformed.length, "message-too-large": 1 });
    expect(logger.lines).toContainEqual({
      level: "warn",
      facts: { contract: "prices", reason: "invalid-message", count: 1 },
      message: "messages dropped",
    });
    expect(JSON.stringify(logger.lines)).not.toContain("Maria");
  });

  test("handler fails: logged, without the update's values; the next update is shown (pitfall 8)", async ({
    vhost,
    cleanup,
  }) => {
    const logger = recordingLogger();
    const market = cleanup(await connect(vhost.url, { system, service: "market" }));
    const board = cleanup(await connect(vhost.url, { system, service: "board", logger }));
    const heard: number[] = [];
    await board.listen(prices, ({ article, cents }) => {
      if (cents === 1) throw new TypeError(`cannot show ${article}`);
      if (cents === 2) return Promise.reject(new Error(`cannot show ${article}`));
      // oxlint-disable-next-line typescript/only-throw-error -- what a careless handler does
      if (cents === 3) throw article;
      return heard.push(cents);
    });
    for (const cents of numbers(1, 4)) await market.broadcast(prices, { article: "Maria Schmidt", cents });
    await expect.poll(() => heard).toEqual([4]);
    const errors = logger.lines.filter(({ level }) => level === "error");
    expect(errors.map(({ facts }) => facts)).toMatchObject([
      { contract: "prices", error: "TypeError" },
      { error: "Error" },
      { error: "not an Error" },
    ]);
    expect(JSON.stringify(logger.lines)).not.toContain("Maria");
  });

  test("receiver too slow: a bounded buffer drops the oldest and counts it, and no other listener waits (pitfall 54)", async ({
    vhost,
    cleanup,
  }) => {
    using drops = countDrops("prices");
    const market = cleanup(await connect(vhost.url, { system, service: "market" }));
    const board = cleanup(await connect(vhost.url, { system, service: "board" }));
    const shown: number[] = [];
    const heard: number[] = [];
    const gate = Promise.withResolvers<void>();
    await board.listen(
      prices,
      async ({ cents }) => {
        shown.push(cents);
        await gate.promise;
      },
      { maxBuffered: 10 },
    );
    await board.listen(prices, ({ cents }) => heard.push(cents));
    // One at a time, so that no drop is the queue's at the broker
    for (const cents of numbers(1, 300)) {
      await market.broadcast(prices, lamp(cents));
      await expect.poll(() => heard.length, { interval: 1 }).toBe(cents);
    }
    expect(shown).toEqual([1]);
    await expect.poll(() => drops.byReason()).toEqual({ "buffer-full": 289 });
    gate.resolve();
    await expect.poll(() => shown).toEqual([1, ...numbers(291, 300)]);
    expect(heard).toEqual(numbers(1, 300));
  });

  test("the exchange exists as long as a sender or a listener is connected, and is deleted with the last of them", async ({
    vhost,
    cleanup,
  }) => {
    const exchanges = async (): Promise<unknown> =>
      (await vhost.management.exchanges(vhost.name)).map(({ name }) => name);
    const market = cleanup(await connect(vhost.url, { system, service: "market" }));
    const board = cleanup(await connect(vhost.url, { system, service: "board" }));
    const listening = await board.listen(prices, () => undefined);
    await listening.stop();
    await market.broadcast(prices, lamp(1));
    expect(await exchanges()).toEqual(["prices"]);
    await board.listen(prices, () => undefined);
    await market.close();
    expect(await exchanges()).toEqual(["prices"]);
    await board.close();
    await expect.poll(exchanges).toEqual([]);
  });

  test("stop ends this listener and deletes its queue; the others continue", async ({ vhost, cleanup }) => {
    const market = cleanup(await connect(vhost.url, { system, service: "market" }));
    const board = cleanup(await connect(vhost.url, { system, service: "board" }));
    const heard: number[][] = [[], []];
    const [first] = await Promise.all(heard.map((list) => board.listen(prices, ({ cents }) => list.push(cents))));
    await market.broadcast(prices, lamp(1));
    await expect.poll(() => heard).toEqual([[1], [1]]);
    await first?.stop();
    await market.broadcast(prices, lamp(2));
    await expect.poll(() => heard).toEqual([[1], [1, 2]]);
    // One of the listener that stays, one of the sender
    await expect.poll(() => vhost.management.queues(vhost.name)).toHaveLength(2);
    expect(board.isReady).toBe(true);
  });
});
