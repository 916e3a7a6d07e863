import { setTimeout as sleep } from "node:timers/promises";
import { describe, expect } from "vitest";
import { createVirtualHost, handshake, type RabbitMq, startRabbitMq } from "../../src/index.ts";
import { test } from "../../src/vitest/fixtures.ts";
import { openClient } from "../peers/amqp-client.ts";

describe("A private broker", () => {
  test("listens on 127.0.0.1 only and has its own credentials (pitfall 114)", async ({ ownBroker }) => {
    const { url, isOwned } = ownBroker;
    const { hostname, username, password } = new URL(url);
    expect({ hostname, isOwned }).toEqual({ hostname: "127.0.0.1", isOwned: true });
    await expect(handshake(url.replace(`${username}:${password}`, "guest:guest"), 10_000)).rejects.toThrow(
      "refused the credentials",
    );
  });

  test("does not answer while it is frozen, and its clients are still connected after thaw", async ({
    ownBroker: broker,
  }) => {
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
  ] as const)("blocks publishers while its %s alarm is raised", async ([, raise, clear], { ownBroker: broker }) => {
    await using client = await openClient(broker.url);
    await raise(broker);
    const publishing = client.publish("while blocked");
    await expect.poll(() => client.isBlocked).toBe(true);
    await clear(broker);
    await publishing;
    await expect.poll(() => client.isBlocked).toBe(false);
    await expect(client.get()).resolves.toBe("while blocked");
  });

  test("deletes a queue that is exclusive to a connection, and the broker cancels the consumer", async ({
    ownBroker: broker,
  }) => {
    await using vhost = await createVirtualHost(broker);
    await using client = await openClient(vhost.url);
    const { queue, cancelled } = await client.listen();
    await broker.deleteQueue(vhost.name, queue);
    await expect(cancelled).resolves.toBe("cancelled");
  });

  test("creates virtual hosts whose default queue type is quorum", async ({ ownBroker: broker }) => {
    await using vhost = await createVirtualHost(broker, { defaultQueueType: "quorum" });
    await using client = await openClient(vhost.url);
    await client.publish("to a quorum queue");
    const [queue] = await vhost.management.queues(vhost.name);
    expect(queue?.type).toBe("quorum");
  });

  test("refuses transient queues that are not exclusive, as RabbitMQ 4.3 does by default, if it is a container (pitfalls 19, 97)", async ({
    ownBroker,
    skip,
  }) => {
    if (ownBroker.source !== "container") skip("needs a Docker engine");
    await using vhost = await createVirtualHost(ownBroker);
    const declaring = vhost.management.declareQueue(vhost.name, "transient", { durable: false });
    await expect(declaring).rejects.toThrow(/with 400: .*transient_nonexcl_queues. is deprecated/);
  });
});

describe("A named broker", () => {
  test("is used but not owned: kill is refused, and close leaves the broker running", async ({ broker }) => {
    const env = { AMQP_URL: broker.url, RABBITMQ_MANAGEMENT_URL: broker.managementUrl };
    const named = await startRabbitMq({ env });
    expect(named).toMatchObject({ source: "named", isOwned: false, url: broker.url, version: broker.version });
    await expect(named.kill()).rejects.toThrow("(AMQP_URL) is not owned by this process");
    await named.close();
    await expect(handshake(broker.url, 5_000)).resolves.toEqual({ version: broker.version });
  });

  test("without a management API cannot give virtual hosts, and the error says what to do", async ({ broker }) => {
    const named = await startRabbitMq({
      env: { AMQP_URL: broker.url, RABBITMQ_MANAGEMENT_URL: "http://a:b@127.0.0.1:1" },
    });
    await expect(createVirtualHost(named)).rejects.toThrow("RABBITMQ_MANAGEMENT_URL=http");
  });

  test("that refuses the credentials causes an error that says so and does not show them", async ({ broker }) => {
    const url = new URL(broker.url);
    url.password = "not-the-password";
    const failure = await startRabbitMq({ env: { AMQP_URL: url.href } }).catch((error: unknown) => String(error));
    expect(failure).toContain("that the credentials are correct");
    expect(failure).not.toContain("not-the-password");
  });
});
