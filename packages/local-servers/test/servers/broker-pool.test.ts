import { expect } from "vitest";
import { createVirtualHost, handshake, Management } from "../../src/index.ts";
import { test } from "../../src/vitest/fixtures.ts";
import { leaseBroker } from "../../src/vitest/pooled-broker.ts";

test("A broker that a test file has killed is running and empty when the next file gets it", async ({
  broker,
  skip,
}) => {
  if (broker.source === "named") skip("needs a broker that may be stopped");
  const source = broker.source === "apt" ? "machine" : broker.source;
  const first = await leaseBroker([source]);
  const management = new Management(first.managementUrl ?? "");
  const { name } = await createVirtualHost(first);
  await management.declareQueue("/", "left behind");
  await management.createUser("left-behind", "secret", { vhost: "/", configure: "", write: "", read: "" });
  await first.kill();
  await expect(handshake(first.url, 1_000)).rejects.toThrow(/ECONNREFUSED|ECONNRESET|closed the connection/);
  await first.close();
  await expect(first.start()).rejects.toThrow("has released it");

  await using second = await leaseBroker([source]);
  expect(second.url).toBe(first.url);
  await expect(handshake(second.url, 5_000)).resolves.toEqual({ version: second.version });
  await expect(management.queues("/")).resolves.toEqual([]);
  await expect(management.queues(name)).rejects.toThrow("404");
  await expect(management.grant("left-behind", { vhost: "/", configure: "", write: "", read: "" })).rejects.toThrow(
    /with 40/,
  );
});
