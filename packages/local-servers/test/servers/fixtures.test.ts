import { describe, expect } from "vitest";
import { startProcess, startProxy, handshake } from "../../src/index.ts";
import { test } from "../../src/vitest.ts";

describe("the fixtures", () => {
  test("give each test a virtual host of its own on the shared broker", async ({ broker, vhost }) => {
    await expect(handshake(vhost.url, 5_000)).resolves.toEqual({ version: broker.version });
    await expect(vhost.management.queues(vhost.name)).resolves.toEqual([]);
  });

  test("give each test an empty database", async ({ database }) => {
    expect(database.url).toMatch(/^postgres:/);
  });

  test("start a broker of one's own that may be killed", async ({ ownBroker }) => {
    await ownBroker.kill();
    await expect(handshake(ownBroker.url, 1_000)).rejects.toThrow();
  });

  test("find it up again in the next test", async ({ ownBroker, cleanup }) => {
    const proxy = cleanup(await startProxy(ownBroker.url));
    await expect(handshake(proxy.url, 5_000)).resolves.toEqual({ version: ownBroker.version });
    expect(proxy.accepted).toBe(1);
    const p = cleanup(await startProcess({ command: "node", args: ["-e", "console.log(1)"] }));
    await expect(p.exited).resolves.toMatchObject({ code: 0 });
  });
});
