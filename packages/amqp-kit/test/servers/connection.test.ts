import { amqpMethods, startProxy } from "@amqp-idioms/local-servers";
import { test } from "@amqp-idioms/local-servers/vitest";
import { describe, expect, onTestFinished, vi } from "vitest";
import { connect, ConnectionError, TopologyError } from "../../src/index.ts";
import { orderPlaced, system } from "../contracts.ts";
import { recordEvents, recordingLogger } from "../recording.ts";
import { services, withCredentials, rejection, everythingOf, listenOn } from "../connecting.ts";

const nothing = { configure: "", write: "", read: "" };

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

describe("what waiting cannot fix fails immediately and says what to do:", () => {
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

  test("a TLS connection to a plaintext port (pitfall 113)", async ({ vhost }) => {
    const url = vhost.url.replace("amqp:", "amqps:");
    const error = await rejection(connect(url, { system, service: "market" }));
    expect(error).toMatchObject({ code: "AMQP_KIT_CONNECTION", retryable: false });
    expect(error.message).toMatch(/The server at amqps:\/\/127\.0\.0\.1:\d+.* does not speak TLS\. Check the port/);
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
      expect(error.message).toMatch(
        /not permitted to. Grant the permissions that permissionsOf of amqp-kit\/derive returns/,
      );
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
    "$service's exchange $exchange already exists with other arguments, $declared (pitfall 21)",
    async ({ service, exchange, declared }, { vhost }) => {
      await vhost.management.declareExchange(vhost.name, exchange, declared);
      const error = await rejection(connect(vhost.url, { system, service }));
      expect(error).toBeInstanceOf(TopologyError);
      expect(error.message).toContain(`exchange "${exchange}"`);
      expect(error.message).toMatch(
        /the broker has (type|durable|auto_delete) \S+, this service declares \S+\. Delete it on the broker, or declare it alike/,
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
    "$service's queue $queue already exists with other arguments, $declared (pitfall 21)",
    async ({ service, queue, declared }, { vhost }) => {
      await vhost.management.declareQueue(vhost.name, queue, declared);
      const error = await rejection(connect(vhost.url, { system, service }));
      expect(error).toBeInstanceOf(TopologyError);
      expect(error.message).toContain(`queue "${queue}"`);
      expect(error.message).toMatch(
        /the broker has (auto_delete|x-max-length|x-expires) .+, this service declares .+\. Delete it on the broker/,
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

test("a declaration conflict affects only the verb that met it (pitfall 6)", async ({ vhost, cleanup }) => {
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

describe("a broker that was unavailable", () => {
  test("is used again by the second connection as soon as the first has reconnected", async ({ vhost, cleanup }) => {
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

describe("a broker that is not available yet", () => {
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
    for (const line of logger.lines)
      expect(line).toMatchObject({
        message: "cannot connect, retrying",
        facts: {
          delayMs: expect.any(Number),
          error: expect.stringMatching(
            /^Cannot connect to the broker at amqp:\/\/127\.0\.0\.1:\d+, virtual host "\/": .+\.$/,
          ),
        },
      });
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

describe("an abort signal immediately ends connecting", () => {
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
