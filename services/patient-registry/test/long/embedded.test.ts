import { describe, expect } from "vitest";
import { onEmbedded as test, openOthers } from "../running.ts";
import { killAtPoint, points, restart, storeNames, useKeyTwice } from "../scenarios.ts";

describe("On the embedded database", () => {
  test("registers once under an idempotency key", async ({ vhost, stored, startRegistry, cleanup }) => {
    await startRegistry(stored);
    await useKeyTwice(cleanup(await openOthers(vhost.url)));
  });

  test("stores names in all scripts and a missing birth date unchanged", async ({
    vhost,
    stored,
    startRegistry,
    cleanup,
  }) => {
    await startRegistry(stored);
    await storeNames(cleanup(await openOthers(vhost.url)));
  });

  test("knows all patients and keys after a restart", async ({ vhost, stored, startRegistry, cleanup }) => {
    await restart({ ...stored }, startRegistry, cleanup(await openOthers(vhost.url)));
  });

  for (const [when, channel] of points) {
    test(`killed ${when}: the patient exists once`, async ({ vhost, stored, startRegistry, cleanup }) => {
      const others = cleanup(await openOthers(vhost.url));
      await killAtPoint(channel, { stored, start: startRegistry, others });
    });
  }

  test("refuses a folder that another registry has opened, and names that process", async ({
    stored,
    startRegistry,
  }) => {
    const first = await startRegistry(stored);
    await expect(startRegistry(stored)).rejects.toThrow(new RegExp(`by process ${first.pid}\\b`));
  });
});
