import { fileURLToPath } from "node:url";
import { amqpMethods, startProcess, startProxy } from "@amqp-idioms/local-servers";
import { type Cleanup, test } from "@amqp-idioms/local-servers/vitest";
import { describe, expect } from "vitest";
import { connect, type Consuming, defineSystem, InvalidMessageError, MessageTooLargeError } from "../../src/index.ts";
import { orderPlaced, type Price, prices, system } from "../contracts.ts";
import { ClosedByAmqplib } from "../closed-by-amqplib.ts";
import { bareListener, bareSender } from "../peers/bare-broadcast.ts";
import { countDrops, recordEvents, recordingLogger } from "../recording.ts";
import { withoutQueue } from "../without-queue.ts";

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

const lamp = (cents: number): Price => ({ article: "lamp", cents });
const numbers = (from: number, to: number): number[] =>
  Array.from({ length: to - from + 1 }, (_, index) => from + index);

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

  test("nobody is listening: the message is gone, and the sender does not notice", async ({ vhost, cleanup }) => {
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

  test("receiver too slow: the queue behind a frozen process is bounded, too, and drops the oldest (pitfall 77)", async ({
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

  test("it gets nothing sent before listen, and all that is sent after, while others join and leave 100 times (pitfall 81)", async ({
    vhost,
    cleanup,
  }) => {
    const market = cleanup(await connect(vhost.url, { system, service: "market" }));
    const board = cleanup(await connect(vhost.url, { system, service: "board" }));
    const other = cleanup(await connect(vhost.url, { system, service: "board" }));
    const heard: number[] = [];
    let next = 1;
    let told = 0;
    const over = new AbortController();
    const tell = async (): Promise<void> => {
      while (!over.signal.aborted) {
        const cents = next++;
        await market.broadcast(prices, lamp(cents));
        told = cents;
      }
    };
    const telling = tell();
    // Also when something below fails: before its connection is closed
    cleanup(async () => {
      over.abort();
      await telling;
    });
    await expect.poll(() => told).toBeGreaterThan(10);
    const toldBefore = told;
    await board.listen(prices, ({ cents }) => heard.push(cents));
    const firstAfter = next;

    const visit = async (): Promise<void> => {
      const visited: number[] = [];
      const before = told;
      const listening = await other.listen(prices, ({ cents }) => visited.push(cents));
      const after = next;
      await expect.poll(() => visited.at(-1) ?? 0, { interval: 2 }).toBeGreaterThan(after);
      await listening.stop();
      const first = visited[0] ?? 0;
      expect(first).toBeGreaterThan(before);
      expect(first).toBeLessThanOrEqual(after);
      expect(visited).toEqual(numbers(first, visited.at(-1) ?? 0));
    };
    const visits = async (): Promise<void> => {
      for (let count = 0; count < 25; count++) await visit();
    };
    await Promise.all([visits(), visits(), visits(), visits()]);
    over.abort();
    await telling;
    await expect.poll(() => heard.at(-1)).toBe(told);
    expect(heard[0]).toBeGreaterThan(toldBefore);
    expect(heard[0]).toBeLessThanOrEqual(firstAfter);
    expect(heard).toEqual(numbers(heard[0] ?? 0, told));
  });

  test("the first message after listen arrives, also when the exchange has vanished a moment before (1,000 rounds) (pitfall 18)", async ({
    vhost,
    cleanup,
  }) => {
    const market = cleanup(await connect(vhost.url, { system, service: "market" }));
    const board = cleanup(await connect(vhost.url, { system, service: "board" }));
    const intoTheVoid = async (): Promise<void> => {
      for (let some = 0; some < 5; some++) await market.broadcast(prices, lamp(0));
    };
    const stranger = cleanup(await bareSender(vhost.url, "prices"));
    using drops = countDrops("prices");
    const stalled = (): number => drops.byReason()["stalled"] ?? 0;
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
      const stalledBefore = stalled();
      await market.broadcast(prices, lamp(round));
      // Where machine or broker stood still for a second it was dropped, and counted: not what this is about
      if (stalled() > stalledBefore) await market.broadcast(prices, lamp(round));
      await expect
        .poll(() => heard.includes(round), { interval: 1, timeout: 5_000, message: `round ${round}` })
        .toBe(true);
      await voided;
      await listening.stop();
    }
  }, 180_000);

  test("one listener leaves at the very moment when another comes, 200 times: the one who comes hears (pitfall 81)", async ({
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
      await market.broadcast(prices, lamp(turn));
      await expect.poll(() => heard.at(-1), { interval: 1, timeout: 5_000, message: `turn ${turn}` }).toBe(turn);
    }
    expect(heard).toEqual(numbers(1, 200));
  });

  test("the exchange stands as long as a sender or a listener is connected, and goes with the last of them", async ({
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

  test("stop: this listener leaves and its queue goes, the others stay", async ({ vhost, cleanup }) => {
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

describe("broadcast, from a sender", () => {
  test("order per sender is kept, also when two send at a time", async ({ vhost, cleanup }) => {
    const board = cleanup(await connect(vhost.url, { system, service: "board" }));
    const heard: Record<string, number[]> = { lamp: [], sofa: [] };
    await board.listen(prices, ({ article, cents }) => heard[article]?.push(cents));
    const send = async (article: string): Promise<void> => {
      const market = cleanup(await connect(vhost.url, { system, service: "market" }));
      const sent = numbers(1, 400).map((cents) => market.broadcast(prices, { article, cents }));
      await Promise.all(sent);
    };
    await Promise.all([send("lamp"), send("sofa")]);
    await expect.poll(() => heard).toEqual({ lamp: numbers(1, 400), sofa: numbers(1, 400) });
  });

  test("invalid and over-large messages reject before the wire, naming field, rule, size and limit", async ({
    vhost,
    cleanup,
  }) => {
    const market = cleanup(await connect(vhost.url, { system, service: "market" }));
    const invalid = market.broadcast(prices, { article: "Maria Schmidt", cents: -1 });
    await expect(invalid).rejects.toBeInstanceOf(InvalidMessageError);
    await expect(invalid).rejects.toMatchObject({
      code: "AMQP_KIT_INVALID_MESSAGE",
      contract: "prices",
      retryable: false,
      issues: [{ path: "cents", rule: expect.any(String) }],
    });
    await expect(invalid).rejects.not.toThrow("Maria");
    const large = market.broadcast(prices, { article: "x".repeat(1024 * 1024), cents: 1 });
    await expect(large).rejects.toBeInstanceOf(MessageTooLargeError);
    await expect(large).rejects.toMatchObject({ bytes: expect.any(Number), maxBytes: 1024 * 1024 });
  });

  test("the connection drops: what is sent meanwhile resolves at once, is dropped and counted; both sides come back (pitfall 4)", async ({
    vhost,
    cleanup,
  }) => {
    using drops = countDrops("prices");
    const proxy = cleanup(await startProxy(vhost.url));
    const market = cleanup(await connect(proxy.url, { system, service: "market" }));
    const board = cleanup(await connect(proxy.url, { system, service: "board" }));
    const heard: number[] = [];
    await board.listen(prices, ({ cents }) => heard.push(cents));
    await market.broadcast(prices, lamp(1));
    await expect.poll(() => heard).toEqual([1]);

    proxy.refuse();
    proxy.cut();
    await expect.poll(() => [market.isReady, board.isReady]).toEqual([false, false]);
    const before = performance.now();
    for (const cents of numbers(2, 101)) await market.broadcast(prices, lamp(cents));
    expect(performance.now() - before).toBeLessThan(500);
    // The one before the cut may count, too: nobody has told the sender that it arrived
    expect([100, 101]).toContain(drops.byReason()["disconnected"]);

    proxy.accept();
    await expect.poll(() => [market.isReady, board.isReady]).toEqual([true, true]);
    await market.broadcast(prices, lamp(102));
    await expect.poll(() => heard).toEqual([1, 102]);
  });

  test("a sender that does nothing but send while it is disconnected does not keep itself from coming back", async ({
    vhost,
    cleanup,
  }) => {
    const proxy = cleanup(await startProxy(vhost.url));
    const market = cleanup(await connect(proxy.url, { system, service: "market" }));
    proxy.cut();
    await expect.poll(() => market.isReady).toBe(false);
    while (!market.isReady) await market.broadcast(prices, lamp(1));
    expect(market.isReady).toBe(true);
  });

  test.for(["channel", "connection"] as const)(
    "a sender that does nothing but send while amqplib closes its %s leaves the event loop its turns (pitfall 7a)",
    async (what, { vhost, cleanup }) => {
      const proxy = cleanup(await startProxy(vhost.url));
      const publishing = new ClosedByAmqplib(proxy);
      const market = cleanup(await connect(proxy.url, { system, service: "market", closeTimeoutMs: 500 }));
      await market.broadcast(prices, lamp(1));
      await publishing.provoke(what);
      let turns = 0;
      const turning = setInterval(() => turns++, 0);
      for (let some = 0; some < 2_000; some++) await market.broadcast(prices, lamp(2));
      clearInterval(turning);
      expect(turns).toBeGreaterThan(0);
      expect(market.isReady).toBe(what === "channel");
    },
  );

  test("a link that stands still holds a sender up for no more than a second or two, and the drops are counted (pitfall 34)", async ({
    vhost,
    cleanup,
  }) => {
    using drops = countDrops("prices");
    const proxy = cleanup(await startProxy(vhost.url));
    const market = cleanup(await connect(proxy.url, { system, service: "market", closeTimeoutMs: 1_000 }));
    await market.broadcast(prices, lamp(1));
    proxy.freeze();
    const before = performance.now();
    await Promise.all(numbers(1, 2_000).map((cents) => market.broadcast(prices, lamp(cents))));
    expect(performance.now() - before).toBeLessThan(2_500);
    expect(drops.byReason()).toEqual({ stalled: 1_000, "buffer-full": 1_000 });
  });

  test("one that is not permitted to hold its exchange works all the same: it comes again with the next message", async ({
    vhost,
    cleanup,
  }) => {
    const user = `sender-${vhost.name}`;
    const permissions = { vhost: vhost.name, configure: "^prices$", write: "^prices$", read: "^$" };
    await vhost.management.createUser(user, "secret", permissions);
    cleanup(() => vhost.management.deleteUser(user));
    const url = Object.assign(new URL(vhost.url), { username: user, password: "secret" }).href;
    const logger = recordingLogger();
    const market = cleanup(await connect(url, { system, service: "market", logger }));
    const board = cleanup(await connect(vhost.url, { system, service: "board" }));
    const heard: number[] = [];
    for (const cents of numbers(1, 10)) {
      await market.broadcast(prices, lamp(0));
      const listening = await board.listen(prices, (update) => heard.push(update.cents));
      await market.broadcast(prices, lamp(cents));
      await expect.poll(() => heard).toEqual(numbers(1, cents));
      await listening.stop();
      await expect.poll(() => vhost.management.exchanges(vhost.name)).toEqual([]);
    }
    expect(logger.lines).toContainEqual({
      level: "warn",
      facts: { contract: "prices" },
      message: expect.stringMatching(/holds exchange "prices".*not permitted/),
    });
  });

  test("a vanished exchange disturbs nothing else: notifications of the same process go on, and no connection is lost (pitfall 7)", async ({
    vhost,
    cleanup,
  }) => {
    using connections = recordEvents("connection");
    const both = defineSystem({
      shop: { broadcasts: [prices], notifies: [orderPlaced] },
      billing: { subscribes: [orderPlaced] },
    });
    const shop = cleanup(await connect(vhost.url, { system: both, service: "shop" }));
    const stranger = cleanup(await bareSender(vhost.url, "prices"));
    for (const pieces of numbers(1, 50)) {
      await stranger.deleteExchange();
      const order = { orderId: String(pieces), article: "lamp", pieces };
      await Promise.all([shop.broadcast(prices, lamp(1)), shop.notify(orderPlaced, order)]);
    }
    const kept = await vhost.management.getMessages(vhost.name, "order.placed.billing");
    expect(kept.map(({ payload }) => JSON.parse(payload).pieces)).toEqual(numbers(1, 50));
    expect(connections.all.map(({ state }) => state)).toEqual(["open"]);
  });

  test("the exchange gone, and the sender not told yet: what it says to a listener that is there arrives (pitfall 18)", async ({
    vhost,
    cleanup,
  }) => {
    const proxy = cleanup(await startProxy(vhost.url));
    const market = cleanup(await connect(proxy.url, { system, service: "market" }));
    const board = cleanup(await connect(vhost.url, { system, service: "board" }));
    const stranger = cleanup(await bareSender(vhost.url, "prices"));
    await market.broadcast(prices, lamp(1));
    let held = 0;
    proxy.filter(({ method }, direction) => {
      if (method !== amqpMethods.channelClose || direction === "to-server") return "pass";
      held++;
      return "hold";
    });
    await stranger.deleteExchange();
    const intoTheVoid = market.broadcast(prices, lamp(2));
    await expect.poll(() => held).toBe(1);
    const heard: number[] = [];
    await board.listen(prices, ({ cents }) => heard.push(cents));
    const told = market.broadcast(prices, lamp(3));
    proxy.filter(undefined);
    proxy.release();
    await Promise.all([intoTheVoid, told]);
    await expect.poll(() => heard.at(-1)).toBe(3);
  });

  test("the broker restarts: both sides come back by themselves", async ({ ownBroker, cleanup }) => {
    const market = cleanup(await connect(ownBroker.url, { system, service: "market" }));
    const board = cleanup(await connect(ownBroker.url, { system, service: "board" }));
    const heard: number[] = [];
    await board.listen(prices, ({ cents }) => heard.push(cents));
    await market.broadcast(prices, lamp(1));
    await expect.poll(() => heard).toEqual([1]);
    await ownBroker.kill();
    await expect.poll(() => [market.isReady, board.isReady]).toEqual([false, false]);
    await market.broadcast(prices, lamp(2));
    await ownBroker.start();
    await expect.poll(() => [market.isReady, board.isReady], { timeout: 45_000 }).toEqual([true, true]);
    await market.broadcast(prices, lamp(3));
    await expect.poll(() => heard).toEqual([1, 3]);
  });

  test("the broker is blocked: broadcast resolves at once, is dropped and counted, and goes on afterwards (pitfall 107)", async ({
    ownBroker,
    cleanup,
  }) => {
    using drops = countDrops("prices");
    const market = cleanup(await connect(ownBroker.url, { system, service: "market" }));
    const board = cleanup(await connect(ownBroker.url, { system, service: "board" }));
    const heard: number[] = [];
    await board.listen(prices, ({ cents }) => heard.push(cents));
    await ownBroker.raiseMemoryAlarm();
    // The broker says so when the connection publishes
    await expect
      .poll(async () => (await market.broadcast(prices, lamp(1)), drops.byReason()["blocked"]))
      .toBeGreaterThan(0);
    const already = drops.byReason()["blocked"] ?? 0;
    const before = performance.now();
    for (const cents of numbers(1, 100)) await market.broadcast(prices, lamp(cents));
    expect(performance.now() - before).toBeLessThan(500);
    expect(drops.byReason()["blocked"]).toBe(already + 100);
    await ownBroker.clearMemoryAlarm();
    await expect.poll(async () => (await market.broadcast(prices, lamp(2)), heard)).toContain(2);
  });
});

describe("broadcast, on the wire", () => {
  test("exchange, queue and message are those of the wire table", async ({ vhost, cleanup }) => {
    const market = cleanup(await connect(vhost.url, { system, service: "market" }));
    const board = cleanup(await connect(vhost.url, { system, service: "board" }));
    await board.listen(prices, () => undefined, { maxBuffered: 7 });
    const exchange = { name: "prices", type: "fanout", durable: false, auto_delete: true, internal: false };
    expect(await vhost.management.exchanges(vhost.name)).toMatchObject([{ ...exchange, arguments: {} }]);
    const queues = await vhost.management.queues(vhost.name);
    const exclusive = { name: expect.stringMatching(/^amq\.gen-/), exclusive: true, durable: false };
    expect(queues.find(({ auto_delete }) => auto_delete)).toMatchObject({
      ...exclusive,
      arguments: { "x-max-length": 7 },
    });
    // The sender's, which holds the exchange and keeps nothing
    expect(queues.find(({ auto_delete }) => !auto_delete)).toMatchObject({
      ...exclusive,
      arguments: { "x-max-length": 0 },
    });
    await expect.poll(() => vhost.management.consumers(vhost.name)).toMatchObject([{ ack_required: false }]);

    const messages: unknown[] = [];
    cleanup(
      await bareListener(vhost.url, "prices", ({ fields, properties, content }) =>
        messages.push({ fields, properties, text: content.toString() }),
      ),
    );
    const now = Date.now() / 1_000;
    await market.broadcast(prices, lamp(1999));
    await expect
      .poll(() => messages)
      .toMatchObject([
        {
          fields: { exchange: "prices", routingKey: "" },
          properties: {
            contentType: "application/json",
            deliveryMode: 1,
            type: "prices",
            appId: "market",
            messageId: expect.stringMatching(/^[0-9a-f-]{36}$/),
            timestamp: expect.closeTo(now, -1),
          },
          text: '{"article":"lamp","cents":1999}',
        },
      ]);
  });

  test("what a listener learns besides: who sent it, when, under which id", async ({ vhost, cleanup }) => {
    const market = cleanup(await connect(vhost.url, { system, service: "market" }));
    const board = cleanup(await connect(vhost.url, { system, service: "board" }));
    const deliveries: unknown[] = [];
    await board.listen(prices, (_, delivery) => deliveries.push(delivery));
    await market.broadcast(prices, lamp(1));
    await expect
      .poll(() => deliveries)
      .toMatchObject([
        {
          appId: "market",
          messageId: expect.any(String),
          sentAt: expect.any(Date),
          attempt: 1,
          redelivered: false,
          signal: { aborted: false },
        },
      ]);
  });

  test("its queue is gone, and the broker says nothing: the listener has another within 5 s (pitfall 78)", async ({
    vhost,
    cleanup,
  }) => {
    const proxy = cleanup(await startProxy(vhost.url));
    const market = cleanup(await connect(vhost.url, { system, service: "market" }));
    const board = cleanup(await connect(proxy.url, { system, service: "board" }));
    const heard: number[] = [];
    await board.listen(prices, ({ cents }) => heard.push(cents));
    const queueOf = async (): Promise<string | undefined> =>
      (await vhost.management.consumers(vhost.name)).find(({ queue }) => queue.name.startsWith("amq.gen-"))?.queue.name;
    await expect.poll(queueOf).toBeDefined();
    const first = await queueOf();
    proxy.filter(withoutQueue(first ?? ""));
    const before = performance.now();
    await expect.poll(queueOf).not.toBe(first);
    await expect.poll(queueOf).toBeDefined();
    expect(performance.now() - before).toBeLessThan(9_000);
    await market.broadcast(prices, lamp(1));
    await expect.poll(() => heard).toEqual([1]);
  });

  test("a deleted exchange is bound to the listener again within 5 s (pitfall 78)", async ({ vhost, cleanup }) => {
    const market = cleanup(await connect(vhost.url, { system, service: "market" }));
    const board = cleanup(await connect(vhost.url, { system, service: "board" }));
    const heard: number[] = [];
    await board.listen(prices, ({ cents }) => heard.push(cents));
    await vhost.management.deleteExchange(vhost.name, "prices");
    const before = performance.now();
    await expect.poll(async () => (await market.broadcast(prices, lamp(1)), heard.length)).toBeGreaterThan(0);
    expect(performance.now() - before).toBeLessThan(6_000);
  });

  test.for([
    { declared: { type: "direct", durable: false, auto_delete: true }, difference: ["type", "'direct'", "'fanout'"] },
    { declared: { type: "fanout", durable: true, auto_delete: true }, difference: ["durable", "'true'", "'false'"] },
    {
      declared: { type: "fanout", durable: false, auto_delete: false },
      difference: ["auto_delete", "'false'", "'true'"],
    },
  ])(
    "an exchange with another $difference.0 fails connect, naming both sides' flags (pitfall 80)",
    async ({ declared, difference: [flag, theirs, ours] }, { vhost }) => {
      await vhost.management.declareExchange(vhost.name, "prices", declared);
      for (const service of ["market", "board"] as const) {
        await expect(connect(vhost.url, { system, service })).rejects.toMatchObject({
          code: "AMQP_KIT_TOPOLOGY",
          message: expect.stringContaining(`the broker has ${flag} ${theirs}, this service declares ${ours}`),
        });
      }
    },
  );
});
