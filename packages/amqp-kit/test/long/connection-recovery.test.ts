import { type Socket } from "node:net";
import { setTimeout as sleep } from "node:timers/promises";
import { amqpMethods, type FrameFilter, startProxy } from "@amqp-idioms/local-servers";
import { type Cleanup, test } from "@amqp-idioms/local-servers/vitest";
import { describe, expect, onTestFinished, vi } from "vitest";
import { connectWith } from "../../src/connect.ts";
import { connect } from "../../src/index.ts";
import { orderPlaced, prices, quote, system } from "../contracts.ts";
import { recordingLogger } from "../recording.ts";
import { channelCloseOk, withCredentials, rejection, everythingOf, listenOn } from "../connecting.ts";

/** The frame by which a server ends a connection (specification 1.4.2.9). */
function connectionClose(code: number, text: string): Buffer {
  const payload = Buffer.concat([Buffer.from([0, 10, 0, 50, 0, 0, text.length]), Buffer.from(text), Buffer.alloc(4)]);
  payload.writeUInt16BE(code, 4);
  const head = Buffer.from([1, 0, 0, 0, 0, 0, 0]);
  head.writeUInt32BE(payload.length, 3);
  return Buffer.concat([head, payload, Buffer.from([0xce])]);
}

/** Holds the nth such frame to the client, and from then on all that comes behind it. */
function holdFrom(
  method: string,
  nth: number,
): { filter: FrameFilter; isHeld: (() => boolean) & { closed: () => boolean } } {
  let seen = 0;
  let hasClose = false;
  const filter: FrameFilter = (frame, direction) => {
    if (direction === "to-server") return "pass";
    if (frame.method === method) seen++;
    if (seen < nth) return "pass";
    hasClose ||= frame.method === amqpMethods.connectionClose;
    return "hold";
  };
  return { filter, isHeld: Object.assign(() => seen >= nth, { closed: () => hasClose }) };
}

async function respondingWarehouse(url: string, cleanup: Cleanup): Promise<AsyncDisposable> {
  const warehouse = cleanup(await connect(url, { system, service: "warehouse" }));
  await warehouse.respond(quote, ({ article, pieces }) => ({ article, cents: pieces }));
  return warehouse;
}

test("credentials that are refused at a reconnect make it not ready until they are accepted again (pitfall 5)", async ({
  vhost,
  cleanup,
}) => {
  const { management, name } = vhost;
  const user = `${name}-user`;
  const all = { vhost: name, configure: ".*", write: ".*", read: ".*" };
  await management.createUser(user, "topsecret", all);
  cleanup(() => management.deleteUser(user));
  const proxy = cleanup(await startProxy(withCredentials(vhost.url, user, "topsecret")));
  const logger = recordingLogger();
  const board = cleanup(await connect(proxy.url, { system, service: "board", logger }));
  const market = cleanup(await connect(vhost.url, { system, service: "market" }));
  const heard: number[] = [];
  await board.listen(prices, ({ cents }) => heard.push(cents));
  await management.createUser(user, "another", all);
  proxy.cut();
  await expect.poll(() => JSON.stringify(logger.lines)).toMatch(/refuses this user or password/);
  expect(board.isReady).toBe(false);
  await management.createUser(user, "topsecret", all);
  await expect.poll(() => board.isReady).toBe(true);
  await market.broadcast(prices, { article: "lamp", cents: 1 });
  await expect.poll(() => heard).toEqual([1]);
  expect(everythingOf(undefined, logger.lines)).not.toContain("topsecret");
});

describe("a broker that was unavailable", () => {
  test("is used again by both connections of a session soon after it returns, however long their random pauses", async ({
    vhost,
    cleanup,
  }) => {
    const proxy = cleanup(await startProxy(vhost.url));
    const till = cleanup(await connect(proxy.url, { system, service: "till" }));
    await till.notify(orderPlaced, { orderId: "1", article: "lamp", pieces: 1 });
    await expect.poll(() => proxy.connections).toBe(2);
    // Every pause is the longest that it may be: after 7 s the next attempt would come at 14 s
    const random = vi.spyOn(Math, "random").mockReturnValue(0.999);
    onTestFinished(() => random.mockRestore());
    proxy.refuse();
    proxy.cut();
    await sleep(7_000);
    proxy.accept();
    const since = performance.now();
    await expect.poll(() => proxy.connections, { timeout: 20_000 }).toBe(2);
    expect(performance.now() - since).toBeLessThan(4_000);
  });
});

describe("a broker that is not available yet", () => {
  test("is waited for even if it closes the socket during the handshake", async ({ cleanup }) => {
    const logger = recordingLogger();
    const abort = new AbortController();
    const { url } = cleanup(await listenOn((socket) => socket.end("HTTP/1.1 400 Bad Request\r\n\r\n")));
    const connecting = rejection(connect(url, { system, service: "market", logger, signal: abort.signal }));
    await expect.poll(() => logger.lines.length).toBeGreaterThan(1);
    abort.abort();
    expect(await connecting).toBe(abort.signal.reason);
  });

  test(
    "that accepts but sends nothing is given up at the time limit of a dial, and the next URL is tried (pitfall 12)",
    { timeout: 45_000 },
    async ({ vhost, cleanup }) => {
      const open = new Set<Socket>();
      const silent = cleanup(
        await listenOn((socket) => void open.add(socket.resume().on("close", () => open.delete(socket)))),
      );
      const logger = recordingLogger();
      const since = performance.now();
      // The order is drawn by lot: twelve sessions, so that some meet the silent one first
      const sessions = await Promise.all(
        Array.from({ length: 12 }, () =>
          connectWith({ dialTimeoutMs: 1_000 }, [silent.url, vhost.url], { system, service: "market", logger }),
        ),
      );
      for (const session of sessions) cleanup(session);
      expect(performance.now() - since).toBeGreaterThan(900);
      expect(performance.now() - since).toBeLessThan(6_000);
      expect(sessions.every(({ isReady }) => isReady)).toBe(true);
      const warnings = logger.lines.filter(({ level }) => level === "warn");
      expect(warnings.length).toBeGreaterThan(0);
      for (const warning of warnings)
        expect(warning).toMatchObject({
          message: "cannot connect, retrying",
          facts: { delayMs: 0, error: expect.stringMatching(/^Cannot connect to the broker/) },
        });
      await expect.poll(() => open.size).toBe(0);
    },
  );
});

test("a connection that is lost as soon as it opens is retried less and less often (pitfall 13)", async ({
  vhost,
  cleanup,
}) => {
  // The longest pause that its jitter allows
  const random = vi.spyOn(Math, "random").mockReturnValue(1);
  onTestFinished(() => random.mockRestore());
  const proxy = cleanup(await startProxy(vhost.url));
  const stood: number[] = [];
  let isCutting = true;
  const onInfo = (message: string): void => {
    if (message !== "connected") return;
    stood.push(performance.now());
    if (isCutting) proxy.cut();
  };
  const logger = { ...recordingLogger(), info: (_: object, message: string) => onInfo(message) };
  const connecting = connect(proxy.url, { system, service: "market", logger });
  const longest = (): number => Math.max(0, ...stood.map((at, index) => at - (stood[index - 1] ?? at)));
  // The first ones are of 2 s
  await expect.poll(longest, { timeout: 40_000 }).toBeGreaterThan(3_500);
  isCutting = false;
  cleanup(await connecting);
});

describe("a socket lost during set-up", () => {
  // Greeting to server 8 bytes; the handshake takes some 350 and 600 bytes, one declaration after the other follows
  const offsets = [
    1, 7, 8, 9, 60, 200, 300, 380, 400, 420, 440, 470, 500, 520, 560, 600, 640, 700, 800, 900, 1_000, 1_200,
  ];

  test.for(["to-server", "to-client"] as const)(
    "after so many bytes %s: it recovers by itself, and all verbs work (pitfall 2)",
    { timeout: 90_000 },
    async (direction, { vhost, cleanup }) => {
      const through = async <N extends "till" | "warehouse">(service: N, bytes: number) => {
        const proxy = cleanup(await startProxy(vhost.url));
        proxy.cutAfter(bytes, direction);
        return { proxy, session: cleanup(await connect(proxy.url, { system, service })) };
      };
      const tills = await Promise.all(offsets.map((bytes) => through("till", bytes)));
      const warehouses = await Promise.all(offsets.map((bytes) => through("warehouse", bytes)));
      const sessions = [...tills, ...warehouses];
      for (const { session } of warehouses) await session.respond(quote, ({ article }) => ({ article, cents: 1 }));
      // The cut may come just after it was connected, or with the first message
      await expect.poll(() => sessions.every(({ session }) => session.isReady)).toBe(true);
      for (const { session } of tills) {
        const order = { orderId: "1", article: "lamp", pieces: 1 };
        await expect.poll(() => session.notify(orderPlaced, order).then(() => true, String)).toBe(true);
        const lamp = { article: "lamp", pieces: 1 };
        await expect.poll(() => session.request(quote, lamp).then(({ cents }) => cents, String)).toBe(1);
      }
      // That each was cut shows in a second connection, but where set-up took fewer bytes than that
      expect(sessions.filter(({ proxy }) => proxy.accepted > 1).length).toBeGreaterThan(offsets.length);
    },
  );

  test.for([
    { what: "the handshake's last channel was closed", held: channelCloseOk, nth: 1 },
    { what: "a channel was opened", held: amqpMethods.channelOpenOk, nth: 2 },
    { what: "an exchange was declared", held: amqpMethods.exchangeDeclareOk, nth: 1 },
    { what: "a queue was declared", held: amqpMethods.queueDeclareOk, nth: 1 },
    { what: "the consumer stood", held: "60.21", nth: 1 },
  ])("at the same moment as $what: it recovers by itself (pitfall 2)", async ({ held, nth }, { vhost, cleanup }) => {
    const proxy = cleanup(await startProxy(vhost.url));
    const { filter, isHeld } = holdFrom(held, nth);
    proxy.filter(filter);
    const connecting = connect(proxy.url, { system, service: "till" });
    const asked = connecting.then((till) => cleanup(till)).then((till) => expect.poll(() => till.isReady).toBe(true));
    await expect.poll(isHeld).toBe(true);
    await expect.poll(() => vhost.management.closeConnections(vhost.name)).toBeGreaterThan(0);
    await expect.poll(isHeld.closed).toBe(true);
    proxy.filter(undefined);
    proxy.release();
    await asked;
    const till = await connecting;
    cleanup(await respondingWarehouse(vhost.url, cleanup));
    await till.notify(orderPlaced, { orderId: "1", article: "lamp", pieces: 1 });
    expect(await till.request(quote, { article: "lamp", pieces: 2 })).toEqual({ article: "lamp", cents: 2 });
  });
});

test("a connection lost as its publishing channel opens does not prevent the next notification (pitfall 2)", async ({
  vhost,
  cleanup,
}) => {
  const proxy = cleanup(await startProxy(vhost.url));
  const till = cleanup(await connect(proxy.url, { system, service: "till" }));
  const order = { orderId: "1", article: "lamp", pieces: 1 };
  const { filter, isHeld } = holdFrom(amqpMethods.confirmSelectOk, 1);
  proxy.filter(filter);
  const first = till.notify(orderPlaced, order, { timeoutMs: 20_000 });
  await expect.poll(isHeld).toBe(true);
  await expect.poll(() => vhost.management.closeConnections(vhost.name)).toBeGreaterThan(0);
  await expect.poll(isHeld.closed).toBe(true);
  proxy.filter(undefined);
  proxy.release();
  await first;
  await till.notify(orderPlaced, order);
  expect(await vhost.management.getMessages(vhost.name, "order.placed.billing")).toHaveLength(2);
});

describe("a connection error during set-up", () => {
  test.for([
    // A fatal code here would end the process: amqplib emits it before it hands the connection out. No broker sends one there
    { what: "the handshake's last word", after: amqpMethods.connectionOpenOk, code: 320 },
    { what: "the first channel", after: amqpMethods.channelOpenOk, code: 541 },
    { what: "a declaration", after: amqpMethods.exchangeDeclareOk, code: 541 },
  ])(
    "right behind $what: the process survives, logs it, and reconnects (pitfalls 1, 2)",
    async ({ after, code }, { vhost, cleanup }) => {
      const proxy = cleanup(await startProxy(vhost.url));
      let isSent = false;
      proxy.filter(({ method, bytes }) => {
        if (method !== after || isSent) return "pass";
        isSent = true;
        return Buffer.concat([bytes, connectionClose(code, "planted")]);
      });
      const logger = recordingLogger();
      const market = cleanup(await connect(proxy.url, { system, service: "market", logger }));
      expect(market.isReady).toBe(true);
      expect(proxy.accepted).toBe(2);
      expect(JSON.stringify(logger.lines)).toMatch(new RegExp(`closed: ${code} .*planted`));
    },
  );
});
