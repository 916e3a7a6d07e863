/** Memory stays bounded whatever the broker does. `MEMORY_MS` says how long it misbehaves in each way; docs/operations.md has the figures. */
import { setTimeout as sleep } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { createVirtualHost, startProcess, startProxy, type Proxy, type RabbitMq } from "@amqp-idioms/local-servers";
import { test } from "@amqp-idioms/local-servers/vitest";
import { describe, expect } from "vitest";

const eachMs = Number(process.env["MEMORY_MS"] ?? 4_000);
const mebibyte = 1024 * 1024;
/** What V8 may use for objects: a queue without limit ends the process within seconds. */
const maxHeapMiB = 192;

interface Figures {
  usedBytes: number;
  rss: number;
  broadcast: number;
  notify: number;
  request: number;
}

interface Broker {
  broker: RabbitMq;
  proxy: Proxy;
}

const faults: Record<string, { begin: (on: Broker) => unknown; end: (on: Broker) => unknown }> = {
  slow: { begin: ({ proxy }) => proxy.delay(200), end: ({ proxy }) => proxy.delay(0) },
  blocked: { begin: ({ broker }) => broker.raiseMemoryAlarm(), end: ({ broker }) => broker.clearMemoryAlarm() },
  absent: {
    begin: ({ proxy }) => {
      proxy.refuse();
      proxy.cut();
    },
    end: ({ proxy }) => proxy.accept(),
  },
};

describe("hundreds of calls at a time of each idiom, as fast as they go", () => {
  for (const [name, { begin, end }] of Object.entries(faults)) {
    const promise = `with a broker that is ${name} memory stays bounded, and afterwards all of them go on (pitfalls 34, 36)`;
    test(promise, { timeout: eachMs + 120_000 }, async ({ ownBroker, cleanup }) => {
      const vhost = await createVirtualHost(ownBroker);
      // What is not handled at this speed is not what is measured
      const definition = { "max-length": 1_000 };
      await vhost.management.setPolicy(vhost.name, "short", { pattern: "^order", definition });
      const proxy = cleanup(await startProxy(vhost.url));
      const main = fileURLToPath(new URL("../processes/full-speed.ts", import.meta.url));
      const running = cleanup(
        await startProcess({
          name: "full-speed",
          command: process.execPath,
          args: [`--max-old-space-size=${maxHeapMiB}`, main],
          env: { AMQP_URL: proxy.url },
          waitForReady: true,
        }),
      );
      const all = (): Figures[] =>
        running.lines.flatMap(({ json }) => (json?.["msg"] === "figures" ? [json as unknown as Figures] : []));
      const since = (before: Figures | undefined): number => {
        const now = all().at(-1);
        const verbs = ["broadcast", "notify", "request"] as const;
        return Math.min(...verbs.map((verb) => (now?.[verb] ?? 0) - (before?.[verb] ?? 0)));
      };
      await expect.poll(() => since(undefined), { timeout: 60_000 }).toBeGreaterThan(100);
      const before = all();
      await begin({ broker: ownBroker, proxy });
      await sleep(eachMs);
      await end({ broker: ownBroker, proxy });
      const during = all().slice(before.length);
      const atEnd = during.at(-1);
      await expect.poll(() => since(atEnd), { timeout: 60_000 }).toBeGreaterThan(100);
      expect(running.isRunning).toBe(true);
      console.log(
        `${name} for ${eachMs} ms: before ${peak(before, "usedBytes")} MiB used, ${peak(before, "rss")} resident; ` +
          `then at most ${peak(during, "usedBytes")} and ${peak(during, "rss")}`,
      );
      expect(peak(during, "rss")).toBeLessThan(500);
    });
  }
});

/** In MiB. */
function peak(figures: Figures[], of: "usedBytes" | "rss"): number {
  return Math.round(Math.max(...figures.map((one) => one[of])) / mebibyte);
}
