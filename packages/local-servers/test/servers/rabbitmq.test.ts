import { setTimeout as sleep } from "node:timers/promises";
import { beforeAll, describe, expect, type TestContext } from "vitest";
import { createVirtualHost, handshake, type RabbitMq, startRabbitMq } from "../../src/index.ts";
import { test } from "../../src/vitest/fixtures.ts";
import { openClient } from "../peers/amqp-client.ts";

/** The broker from this source, or this test is skipped. */
async function have(source: "container" | "machine", skip: TestContext["skip"]): Promise<RabbitMq> {
  return startRabbitMq({ from: [source], env: {} }).catch((error: unknown) => {
    if (String(error).includes("no Docker engine answers")) return skip("needs a Docker engine");
    if (String(error).includes("is not installed")) return skip("needs RabbitMQ: apt-get install rabbitmq-server");
    throw error;
  });
}

describe.each(["container", "machine"] as const)("a broker from %s", (source) => {
  let broker: RabbitMq | undefined;
  const running = async (skip: TestContext["skip"]): Promise<RabbitMq> => {
    broker ??= await have(source, skip);
    await broker.thaw();
    await broker.start();
    return broker;
  };
  beforeAll(() => () => broker?.close());

  test("listens on 127.0.0.1, with credentials of its own (pitfall 114)", async ({ skip }) => {
    const { url, isOwned } = await running(skip);
    const { hostname, username, password } = new URL(url);
    expect({ hostname, isOwned }).toEqual({ hostname: "127.0.0.1", isOwned: true });
    await expect(handshake(url.replace(`${username}:${password}`, "guest:guest"), 10_000)).rejects.toThrow(
      "refused the credentials",
    );
  });

  test("keeps its address and its durable messages through stop, kill -9 and restart (pitfalls 100, 101)", async ({
    skip,
  }) => {
    const broker = await running(skip);
    const { url, managementUrl } = broker;
    for (const interrupt of ["stop", "kill"] as const) {
      {
        await using client = await openClient(url);
        await client.publish(`before ${interrupt}`);
        await broker[interrupt]();
      }
      await expect(handshake(url, 2_000)).rejects.toThrow(/ECONNREFUSED|ECONNRESET|closed the connection/);
      await broker.start();
      await using client = await openClient(broker.url);
      await expect(client.get()).resolves.toBe(`before ${interrupt}`);
    }
    await broker.restart();
    expect(broker).toMatchObject({ url, managementUrl });
    await expect(handshake(url, 5_000)).resolves.toEqual({ version: broker.version });
  });

  test("answers nobody while frozen, and its clients find themselves connected when it thaws", async ({ skip }) => {
    const broker = await running(skip);
    await using client = await openClient(broker.url);
    await broker.freeze();
    await expect(handshake(broker.url, 500)).rejects.toThrow("within 500 ms");
    const publishing = client.publish("while frozen");
    await expect(Promise.race([publishing.then(() => "confirmed"), sleep(300, "waiting")])).resolves.toBe("waiting");
    await broker.thaw();
    await publishing;
    await expect(client.get()).resolves.toBe("while frozen");
  });

  test.for([
    ["memory", (broker: RabbitMq) => broker.raiseMemoryAlarm(), (broker: RabbitMq) => broker.clearMemoryAlarm()],
    ["disk", (broker: RabbitMq) => broker.raiseDiskAlarm(), (broker: RabbitMq) => broker.clearDiskAlarm()],
  ] as const)("blocks publishers by its %s alarm until that is cleared", async ([, raise, clear], { skip }) => {
    const broker = await running(skip);
    await using client = await openClient(broker.url);
    await raise(broker);
    const publishing = client.publish("while blocked");
    await expect.poll(() => client.isBlocked).toBe(true);
    await clear(broker);
    await publishing;
    await expect.poll(() => client.isBlocked).toBe(false);
    await expect(client.get()).resolves.toBe("while blocked");
  });

  test("deletes a queue that is exclusive to a connection, which learns of it", async ({ skip }) => {
    const broker = await running(skip);
    await using vhost = await createVirtualHost(broker);
    await using client = await openClient(vhost.url);
    const { queue, cancelled } = await client.listen();
    await broker.deleteQueue(vhost.name, queue);
    await expect(cancelled).resolves.toBe("cancelled");
  });

  test("makes virtual hosts whose default queue type is quorum", async ({ skip }) => {
    const broker = await running(skip);
    await using vhost = await createVirtualHost(broker, { defaultQueueType: "quorum" });
    await using client = await openClient(vhost.url);
    await client.publish("to a quorum queue");
    const [queue] = await vhost.management.queues(vhost.name);
    expect(queue?.type).toBe("quorum");
  });
});

describe("the container", () => {
  test("refuses transient queues that are not exclusive, as upstream's 4.3 does (pitfalls 19, 97)", async ({
    skip,
  }) => {
    await using broker = await have("container", skip);
    await using vhost = await createVirtualHost(broker);
    const declaring = vhost.management.declareQueue(vhost.name, "transient", { durable: false });
    await expect(declaring).rejects.toThrow(/with 400: .*transient_nonexcl_queues. is deprecated/);
  });
});

describe("a named broker", () => {
  test("is used, but not owned: it refuses to be stopped, and close leaves it alone", async ({ broker }) => {
    const env = { AMQP_URL: broker.url, RABBITMQ_MANAGEMENT_URL: broker.managementUrl };
    const named = await startRabbitMq({ env });
    expect(named).toMatchObject({ source: "named", isOwned: false, url: broker.url, version: broker.version });
    await expect(named.kill()).rejects.toThrow("is yours (AMQP_URL)");
    await named.close();
    await expect(handshake(broker.url, 5_000)).resolves.toEqual({ version: broker.version });
  });

  test("without a management API gives no virtual hosts, and says what to do", async ({ broker }) => {
    const named = await startRabbitMq({
      env: { AMQP_URL: broker.url, RABBITMQ_MANAGEMENT_URL: "http://a:b@127.0.0.1:1" },
    });
    await expect(createVirtualHost(named)).rejects.toThrow("RABBITMQ_MANAGEMENT_URL=http");
  });

  test("that refuses the credentials is an error that says so, without showing them", async ({ broker }) => {
    const url = new URL(broker.url);
    url.password = "not-the-password";
    const failure = await startRabbitMq({ env: { AMQP_URL: url.href } }).catch((error: unknown) => String(error));
    expect(failure).toContain("are the credentials right?");
    expect(failure).not.toContain("not-the-password");
  });
});
