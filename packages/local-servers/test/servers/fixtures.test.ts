import { describe, expect } from "vitest";
import { Client } from "pg";
import { handshake } from "../../src/index.ts";
import { test } from "../../src/vitest/fixtures.ts";

const seen = { vhosts: new Set<string>(), databases: new Set<string>(), closed: [] as string[] };

describe("The fixtures", () => {
  test.for([1, 2])(
    "give each test its own virtual host on the shared broker (%i) (pitfall 101)",
    async (_, { broker, vhost }) => {
      await expect(handshake(vhost.url, 5_000)).resolves.toEqual({ version: broker.version });
      await expect(vhost.management.queues(vhost.name)).resolves.toEqual([]);
      expect(seen.vhosts).not.toContain(vhost.name);
      seen.vhosts.add(vhost.name);
      await vhost.management.declareQueue(vhost.name, "left behind");
    },
  );

  test("have deleted that virtual host before the next test begins", async ({ vhost }) => {
    const [before] = seen.vhosts;
    await expect(vhost.management.queues(before ?? "")).rejects.toThrow("404");
  });

  test.for([1, 2])("give each test its own empty database (%i)", async (_, { database }) => {
    expect(seen.databases).not.toContain(database.url);
    seen.databases.add(database.url);
    const client = new Client({ connectionString: database.url });
    await client.connect();
    const { rows } = await client.query(
      "SELECT count(*)::int FROM information_schema.tables WHERE table_schema = 'public'",
    );
    expect(rows).toEqual([{ count: 0 }]);
    await client.query("CREATE TABLE left_behind ()");
    await client.end();
  });

  test("give a test that asks for it a broker that can be killed", async ({ broker, ownBroker }) => {
    expect(ownBroker.url).not.toBe(broker.url);
    await ownBroker.kill();
    await expect(handshake(ownBroker.url, 1_000)).rejects.toThrow(/ECONNREFUSED|ECONNRESET|closed the connection/);
  });

  test("have restarted that broker before the next test begins", async ({ ownBroker }) => {
    await expect(handshake(ownBroker.url, 5_000)).resolves.toEqual({ version: ownBroker.version });
  });

  test("close the resources passed to cleanup, newest first, before the virtual host is deleted", async ({
    vhost,
    cleanup,
  }) => {
    cleanup(() => seen.closed.push("first"));
    cleanup({ [Symbol.dispose]: () => seen.closed.push("second") });
    const third = {
      async [Symbol.asyncDispose]() {
        await vhost.management.queues(vhost.name);
        seen.closed.push("third");
      },
    };
    expect(cleanup(third)).toBe(third);
    expect(seen.closed).toEqual([]);
  });

  test("have closed all of them before the next test begins", () => {
    expect(seen.closed).toEqual(["third", "second", "first"]);
  });
});
