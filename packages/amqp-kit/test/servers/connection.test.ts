import { once } from "node:events";
import { type AddressInfo, createServer, type Socket } from "node:net";
import { setTimeout as sleep } from "node:timers/promises";
import { amqpMethods, type FrameFilter, startProxy } from "@amqp-idioms/local-servers";
import { type Cleanup, test } from "@amqp-idioms/local-servers/vitest";
import { describe, expect, onTestFinished, vi } from "vitest";
import { connect, ConnectionError, TopologyError } from "../../src/index.ts";
import { orderPlaced, prices, quote, system } from "../contracts.ts";
import { recordEvents, recordingLogger } from "../recording.ts";

const services = ["market", "board", "till", "billing", "warehouse"] as const;
const channelCloseOk = "20.41";

describe("what no waiting mends fails at once and says what to do:", () => {
  test("a wrong password (pitfall 5)", async ({ vhost }) => {
    const logger = recordingLogger();
    const url = withCredentials(vhost.url, new URL(vhost.url).username, "topsecret");
    const error = await rejection(connect(url, { system, service: "market", logger }));
    expect(error).toBeInstanceOf(ConnectionError);
    expect(error).toMatchObject({ code: "AMQP_KIT_CONNECTION", retryable: false });
    expect(error.message).toMatch(/refuses this user or password. Check the credentials in the AMQP URL/);
    expect(everythingOf(error, logger.lines)).not.toContain("topsecret");
  });

  test("an unknown virtual host (pitfall 5)", async ({ vhost }) => {
    const error = await rejection(connect(`${vhost.url}-absent`, { system, service: "market" }));
    expect(error).toBeInstanceOf(ConnectionError);
    expect(error).toMatchObject({ retryable: false });
    expect(error.message).toContain(`virtual host "${vhost.name}-absent"`);
    expect(error.message).toMatch(/does not exist, or this user may not use it. Check/);
    expect(everythingOf(error)).not.toContain(new URL(vhost.url).password);
  });

  test("a virtual host that this user may not use", async ({ vhost, cleanup }) => {
    const { management } = vhost;
    await management.createUser(`${vhost.name}-stranger`, "topsecret", { vhost: vhost.name, ...nothing });
    cleanup(() => management.deleteUser(`${vhost.name}-stranger`));
    const other = `${vhost.name}-other`;
    await management.createVirtualHost(other);
    cleanup(() => management.deleteVirtualHost(other));
    const url = withCredentials(vhost.url, `${vhost.name}-stranger`, "topsecret").replace(/[^/]*$/, other);
    const error = await rejection(connect(url, { system, service: "market" }));
    expect(error).toMatchObject({ code: "AMQP_KIT_CONNECTION", retryable: false });
    expect(error.message).toMatch(/this user may not use it/);
    expect(everythingOf(error)).not.toContain("topsecret");
  });

  test("an encrypted connection to a port that is not (pitfall 113)", async ({ vhost }) => {
    const url = vhost.url.replace("amqp:", "amqps:");
    const error = await rejection(connect(url, { system, service: "market" }));
    expect(error).toMatchObject({ code: "AMQP_KIT_CONNECTION", retryable: false });
    expect(error.message).toMatch(/What answers at amqps:\/\/127\.0\.0\.1:\d+.* does not speak TLS\. Check the port/);
  });

  test("declarations that this user is not permitted (pitfall 115)", async ({ vhost, cleanup }) => {
    const { management } = vhost;
    const user = `${vhost.name}-stranger`;
    await management.createUser(user, "topsecret", { vhost: vhost.name, ...nothing });
    cleanup(() => management.deleteUser(user));
    const url = withCredentials(vhost.url, user, "topsecret");
    for (const service of services) {
      const error = await rejection(connect(url, { system, service }));
      expect(error).toBeInstanceOf(TopologyError);
      expect(error.message).toMatch(/not permitted to. Grant what permissionsOf of amqp-kit\/derive says/);
      expect(everythingOf(error)).not.toContain("topsecret");
    }
  });

  test.for([
    { service: "market", exchange: "prices", declared: { type: "fanout", durable: true } },
    { service: "market", exchange: "prices", declared: { type: "topic", durable: false, auto_delete: true } },
    { service: "board", exchange: "prices", declared: { type: "fanout", durable: false, auto_delete: false } },
    { service: "till", exchange: "order.placed", declared: { type: "direct", durable: true } },
    { service: "billing", exchange: "order.placed.billing.failed", declared: { type: "fanout", durable: true } },
    { service: "warehouse", exchange: "shop", declared: { type: "direct", durable: true } },
  ] as const)(
    "$service's exchange $exchange stands with other flags, $declared (pitfall 21)",
    async ({ service, exchange, declared }, { vhost }) => {
      await vhost.management.declareExchange(vhost.name, exchange, declared);
      const error = await rejection(connect(vhost.url, { system, service }));
      expect(error).toBeInstanceOf(TopologyError);
      expect(error.message).toContain(`exchange "${exchange}"`);
      expect(error.message).toMatch(
        /the broker has (type|durable|auto_delete) \S+, this service declares \S+\. Delete it there, or agree/,
      );
    },
  );

  test.for([
    { service: "till", queue: "order.placed.billing", declared: { durable: true, auto_delete: true } },
    { service: "till", queue: "order.placed.shipping", declared: { durable: true, arguments: { "x-max-length": 10 } } },
    { service: "billing", queue: "order.placed.billing", declared: { durable: true, auto_delete: true } },
    {
      service: "billing",
      queue: "order.placed.billing.dead",
      declared: { durable: true, arguments: { "x-expires": 60_000 } },
    },
  ] as const)(
    "$service's queue $queue stands with other flags, $declared (pitfall 21)",
    async ({ service, queue, declared }, { vhost }) => {
      await vhost.management.declareQueue(vhost.name, queue, declared);
      const error = await rejection(connect(vhost.url, { system, service }));
      expect(error).toBeInstanceOf(TopologyError);
      expect(error.message).toContain(`queue "${queue}"`);
      expect(error.message).toMatch(
        /the broker has (auto_delete|x-max-length|x-expires) .+, this service declares .+\. Delete it there/,
      );
    },
  );

  test("and leaves no connection behind", async ({ vhost, cleanup }) => {
    const proxy = cleanup(await startProxy(vhost.url));
    await vhost.management.declareExchange(vhost.name, "prices", { type: "topic" });
    await rejection(connect(proxy.url, { system, service: "market" }));
    await expect.poll(() => proxy.connections).toBe(0);
    expect(proxy.accepted).toBe(1);
  });
});

test("a conflict that a verb meets concerns that verb alone (pitfall 6)", async ({ vhost, cleanup }) => {
  await vhost.management.declareQueue(vhost.name, "order.placed.billing.delay.50", { durable: true });
  const billing = cleanup(await connect(vhost.url, { system, service: "billing" }));
  const till = cleanup(await connect(vhost.url, { system, service: "till" }));
  const handled: string[] = [];
  const take = ({ orderId }: { orderId: string }): void => void handled.push(orderId);
  const error = await rejection(billing.subscribe(orderPlaced, take, { retryDelaysMs: [50] }));
  expect(error).toBeInstanceOf(TopologyError);
  expect(error.message).toContain('queue "order.placed.billing.delay.50"');
  await billing.subscribe(orderPlaced, take, { retryDelaysMs: [60] });
  await till.notify(orderPlaced, { orderId: "1", article: "lamp", pieces: 1 });
  await expect.poll(() => handled).toEqual(["1"]);
  expect(billing.isReady).toBe(true);
});

test("user and password may have any characters (pitfall 111)", async ({ vhost, cleanup }) => {
  const user = `é ${vhost.name}`;
  await vhost.management.createUser(user, "p@ss/ü%?#:", {
    vhost: vhost.name,
    configure: ".*",
    write: ".*",
    read: ".*",
  });
  cleanup(() => vhost.management.deleteUser(user));
  const url = withCredentials(vhost.url, user, "p@ss/ü%?#:");
  const market = cleanup(await connect(url, { system, service: "market" }));
  expect(market.isReady).toBe(true);
});

test("credentials that no longer hold at a reconnect: not ready, and back once they do (pitfall 5)", async ({
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
  await expect.poll(() => logger.lines.map(({ message }) => message).join()).toMatch(/refuses this user or password/);
  expect(board.isReady).toBe(false);
  await management.createUser(user, "topsecret", all);
  await expect.poll(() => board.isReady).toBe(true);
  await market.broadcast(prices, { article: "lamp", cents: 1 });
  await expect.poll(() => heard).toEqual([1]);
  expect(everythingOf(undefined, logger.lines)).not.toContain("topsecret");
});

describe("a broker that was away", () => {
  test("is back for both connections of a session soon after, however unlucky their pauses were drawn", async ({
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

  test("is back for the other connection as soon as it is for one", async ({ vhost, cleanup }) => {
    const proxy = cleanup(await startProxy(vhost.url));
    const till = cleanup(await connect(proxy.url, { system, service: "till" }));
    await till.notify(orderPlaced, { orderId: "1", article: "lamp", pieces: 1 });
    await expect.poll(() => proxy.connections).toBe(2);
    const pauses = [0.05, 0.999];
    const random = vi.spyOn(Math, "random").mockImplementation(() => pauses.shift() ?? 0.5);
    onTestFinished(() => random.mockRestore());
    using events = recordEvents("connection");
    const since = performance.now();
    proxy.cut();
    await expect.poll(() => events.all.filter(({ state }) => state === "open").length).toBe(2);
    // One waits for 0.1 s; the other's own pause would end after 2 s
    expect(performance.now() - since).toBeLessThan(1_900);
  });
});

describe("a broker that is not there yet", () => {
  test("is waited for, with one log line per attempt (pitfall 98)", async ({ cleanup }) => {
    let attempts = 0;
    const url = cleanup(
      await listenOn((socket) => {
        attempts++;
        socket.resetAndDestroy();
      }),
    ).url;
    const logger = recordingLogger();
    const abort = new AbortController();
    const connecting = rejection(connect(url, { system, service: "till", logger, signal: abort.signal }));
    await expect.poll(() => attempts, { timeout: 30_000 }).toBe(4);
    await expect.poll(() => logger.lines.length).toBe(4);
    abort.abort();
    await connecting;
    expect(logger.lines.map(({ level }) => level)).toEqual(["warn", "warn", "warn", "warn"]);
    for (const { message } of logger.lines)
      expect(message).toMatch(
        /^Cannot connect to the broker at amqp:\/\/127\.0\.0\.1:\d+, virtual host "\/": .+\. Next attempt in \d+ ms\.$/,
      );
    expect(attempts).toBe(4);
  });

  test("is connected to when it comes, without any further call", async ({ vhost, cleanup }) => {
    const proxy = cleanup(await startProxy(vhost.url));
    proxy.refuse();
    const logger = recordingLogger();
    const connecting = connect(proxy.url, { system, service: "market", logger });
    await expect.poll(() => logger.lines.length).toBeGreaterThan(0);
    proxy.accept();
    const market = cleanup(await connecting);
    expect(market.isReady).toBe(true);
  });

  test("hangs up in the middle of the handshake: waited for as well", async ({ cleanup }) => {
    const logger = recordingLogger();
    const abort = new AbortController();
    const { url } = cleanup(await listenOn((socket) => socket.end("HTTP/1.1 400 Bad Request\r\n\r\n")));
    const connecting = rejection(connect(url, { system, service: "market", logger, signal: abort.signal }));
    await expect.poll(() => logger.lines.length).toBeGreaterThan(1);
    abort.abort();
    expect(await connecting).toBe(abort.signal.reason);
  });

  test(
    "accepts but stays silent: given up after 10 s, and the next URL is tried (pitfall 12)",
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
        Array.from({ length: 12 }, () => connect([silent.url, vhost.url], { system, service: "market", logger })),
      );
      for (const session of sessions) cleanup(session);
      expect(performance.now() - since).toBeGreaterThan(9_000);
      expect(performance.now() - since).toBeLessThan(15_000);
      expect(sessions.every(({ isReady }) => isReady)).toBe(true);
      const warnings = logger.lines.filter(({ level }) => level === "warn");
      expect(warnings.length).toBeGreaterThan(0);
      for (const { message } of warnings) expect(message).toMatch(/^Cannot connect .* Next attempt in 0 ms\.$/);
      await expect.poll(() => open.size).toBe(0);
    },
  );

  test("is one of several: the next is tried at once, also when the one in use goes away", async ({
    vhost,
    cleanup,
  }) => {
    const one = cleanup(await startProxy(vhost.url));
    const other = cleanup(await startProxy(vhost.url));
    one.refuse();
    const since = performance.now();
    const market = cleanup(await connect([one.url, other.url], { system, service: "market" }));
    expect(performance.now() - since).toBeLessThan(2_000);
    expect([one.connections, other.connections]).toEqual([0, 1]);
    one.accept();
    other.refuse();
    other.cut();
    await expect.poll(() => market.isReady).toBe(false);
    await expect.poll(() => market.isReady).toBe(true);
    expect([one.connections, other.connections]).toEqual([1, 0]);
  });
});

describe("an abort signal ends the connecting at once,", () => {
  const reason = new Error("no longer wanted");

  test("before it began", async ({ vhost, cleanup }) => {
    const proxy = cleanup(await startProxy(vhost.url));
    const signal = AbortSignal.abort(reason);
    expect(await rejection(connect(proxy.url, { system, service: "market", signal }))).toBe(reason);
    expect(proxy.accepted).toBe(0);
  });

  test("in the pause between two attempts (pitfall 16)", async ({ vhost, cleanup }) => {
    const proxy = cleanup(await startProxy(vhost.url));
    proxy.refuse();
    const logger = recordingLogger();
    await expectEndsAtOnce(proxy.url, () => expect.poll(() => logger.lines.length).toBeGreaterThan(0), reason, logger);
    proxy.accept();
    expect(proxy.accepted).toBe(0);
  });

  const phases = {
    "before the server's first word": amqpMethods.connectionStart,
    "in the handshake": amqpMethods.connectionTune,
    "at the handshake's end": amqpMethods.connectionOpenOk,
    "while a channel opens": amqpMethods.channelOpenOk,
    "in the middle of its declarations": amqpMethods.exchangeDeclareOk,
    "in the middle of a queue's declaration": amqpMethods.queueDeclareOk,
  };
  test.for(Object.entries(phases))(
    "%s, though nothing answers any more (pitfall 16)",
    async ([, method], { vhost, cleanup }) => {
      const proxy = cleanup(await startProxy(vhost.url));
      let isHeld = false;
      proxy.filter((frame) => {
        isHeld ||= frame.method === method;
        return isHeld ? "hold" : "pass";
      });
      await expectEndsAtOnce(proxy.url, () => expect.poll(() => isHeld).toBe(true), reason);
      await expect.poll(() => proxy.connections).toBe(0);
    },
  );
});

test("a connection that is lost as soon as it stands is tried less and less often (pitfall 13)", async ({
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
    if (!message.startsWith("connected to")) return;
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

describe("a socket lost in the middle of set-up", () => {
  // Greeting to server 8 bytes; the handshake takes some 350 and 600 bytes, one declaration after the other follows
  const offsets = [
    1, 7, 8, 9, 60, 200, 300, 380, 400, 420, 440, 470, 500, 520, 560, 600, 640, 700, 800, 900, 1_000, 1_200,
  ];

  test.for(["to-server", "to-client"] as const)(
    "after so many bytes %s: it comes by itself, and all verbs work (pitfall 2)",
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
  ])("in the same breath as $what: it comes back by itself (pitfall 2)", async ({ held, nth }, { vhost, cleanup }) => {
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

test("a connection lost in the same breath as a channel that publishes was opened: the next notification goes (pitfall 2)", async ({
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

describe("a connection error in the middle of set-up", () => {
  test.for([
    // A fatal code here would end the process: amqplib emits it before it hands the connection out. No broker sends one there
    { what: "the handshake's last word", after: amqpMethods.connectionOpenOk, code: 320 },
    { what: "the first channel", after: amqpMethods.channelOpenOk, code: 541 },
    { what: "a declaration", after: amqpMethods.exchangeDeclareOk, code: 541 },
  ])(
    "right behind $what: the process lives, tells of it, and connects again (pitfalls 1, 2)",
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
      expect(logger.lines.map(({ message }) => message).join("\n")).toMatch(new RegExp(`closed: ${code} .*planted`));
    },
  );
});

const nothing = { configure: "", write: "", read: "" };

function withCredentials(url: string, user: string, password: string): string {
  return url.replace(/\/\/[^@]*@/, `//${encodeURIComponent(user)}:${encodeURIComponent(password)}@`);
}

async function rejection(promise: Promise<unknown>): Promise<Error> {
  const outcome = await promise.then(
    () => new Error("it did not reject"),
    (error: unknown) => error,
  );
  return outcome instanceof Error ? outcome : new Error(`not an Error: ${String(outcome)}`);
}

/** All that a log or an uncaught error would show. */
function everythingOf(error: Error | undefined, lines: readonly object[] = []): string {
  const parts: string[] = [JSON.stringify(lines)];
  for (let one: unknown = error; one instanceof Error; one = one.cause)
    parts.push(String(one), one.stack ?? "", JSON.stringify(one));
  return parts.join("\n");
}

/** A server that is no broker. */
async function listenOn(onConnection: (socket: Socket) => void): Promise<AsyncDisposable & { url: string }> {
  const sockets = new Set<Socket>();
  const server = createServer((socket) => {
    sockets.add(socket.on("error", () => undefined));
    onConnection(socket);
  }).listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address() as AddressInfo;
  return {
    url: `amqp://127.0.0.1:${port}`,
    async [Symbol.asyncDispose]() {
      server.close();
      for (const socket of sockets) socket.destroy();
      await once(server, "close");
    },
  };
}

async function expectEndsAtOnce(
  url: string,
  until: () => Promise<void>,
  reason: Error,
  logger = recordingLogger(),
): Promise<void> {
  const abort = new AbortController();
  const connecting = rejection(connect(url, { system, service: "till", logger, signal: abort.signal }));
  await until();
  const since = performance.now();
  abort.abort(reason);
  expect(await connecting).toBe(reason);
  expect(performance.now() - since).toBeLessThan(500);
}

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
