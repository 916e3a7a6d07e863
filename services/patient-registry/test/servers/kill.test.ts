import { describe } from "vitest";
import { onPostgres as test, openOthers } from "../running.ts";
import { killAtPoint, points } from "../scenarios.ts";

describe("Killed with SIGKILL", () => {
  for (const [when, channel] of points) {
    test(`${when}: the patient exists once, subscribers are notified under one message id, and the key works (pitfall 47)`, async ({
      vhost,
      stored,
      startRegistry,
      cleanup,
    }) => {
      const others = cleanup(await openOthers(vhost.url));
      await killAtPoint(channel, { stored, start: startRegistry, others });
    });
  }
});
