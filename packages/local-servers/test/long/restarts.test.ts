import { describe, expect } from "vitest";
import { handshake } from "../../src/index.ts";
import { test } from "../../src/vitest/fixtures.ts";
import { openClient } from "../peers/amqp-client.ts";

describe("A private broker", () => {
  test("keeps its address and its durable messages after stop, kill -9 and restart (pitfalls 100, 101)", async ({
    ownBroker: broker,
  }) => {
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
});
