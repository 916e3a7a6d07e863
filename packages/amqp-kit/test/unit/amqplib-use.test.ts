/** What amqplib offers and no source of the kit may use: there is no code path to test, so the words themselves are looked for. */
import { globSync, readFileSync } from "node:fs";
import { describe, expect, test } from "vitest";

const folder = new URL("../../src/", import.meta.url).pathname;
const sources = globSync("**/*.ts", { cwd: folder }).map(
  (file) => [file, readFileSync(folder + file, "utf8")] as const,
);

function filesThatSay(word: RegExp): string[] {
  return sources.filter(([, text]) => word.test(text)).map(([file]) => file);
}

describe("the kit never uses", () => {
  test("arguments that newer brokers refuse, or that belong in a policy (pitfalls 26, 29)", () => {
    for (const word of [/x-queue-mode/, /x-queue-version/, /queueMode/, /x-consumer-timeout/])
      expect(filesThatSay(word)).toEqual([]);
    expect(filesThatSay(/x-queue-type/)).toEqual(["broker/topology.ts"]);
  });

  test("limits that amqplib and the broker negotiate better (pitfall 45)", () => {
    for (const word of [/frame_?max/i, /channel_?max/i]) expect(filesThatSay(word)).toEqual([]);
    expect(filesThatSay(/heartbeat/)).toContain("broker/dial.ts");
  });

  test("calls that have a better one (pitfall 12b)", () => {
    expect(filesThatSay(/waitForConfirms/)).toEqual([]);
    expect(filesThatSay(/confirmChannel/)).toContain("broker/publisher.ts");
  });

  test("a prefetch for a whole channel (pitfall 55)", () => {
    expect(filesThatSay(/prefetch\([^()]*,/)).toEqual([]);
    expect(filesThatSay(/raw\.prefetch\(/)).toContain("broker/channel-consumers.ts");
  });

  test("direct reply-to (pitfalls 63, 64)", () => {
    expect(filesThatSay(/amq\.rabbitmq/)).toEqual([]);
    expect(filesThatSay(/declareReplyQueue/)).toContain("broker/topology.ts");
  });

  test("tracing, which would double the spans of somebody else's (pitfalls 108, 109)", () => {
    expect(filesThatSay(/opentelemetry|startSpan|traceparent/i)).toEqual([]);
    expect(filesThatSay(/diagnostics_channel/)).toContain("telemetry/events.ts");
  });

  test("a way around the check of certificates (pitfall 113)", () => {
    expect(filesThatSay(/rejectUnauthorized(?!: true)|checkServerIdentity|insecure/i)).toEqual([]);
    expect(filesThatSay(/rejectUnauthorized: true/)).toEqual(["broker/dial.ts"]);
  });
});

describe("amqplib", () => {
  test("is one that refuses frames of absurd size, and its limit is left alone (pitfall 117)", () => {
    const { version } = JSON.parse(
      readFileSync(new URL("../../node_modules/amqplib/package.json", import.meta.url), "utf8"),
    );
    const [major = 0, minor = 0, patch = 0] = String(version).split(".").map(Number);
    expect(major * 1_000_000 + minor * 1_000 + patch).toBeGreaterThanOrEqual(2_003_001);
    expect(filesThatSay(/maxFrameSize/)).toEqual([]);
  });

  test("has one set of types, its own (pitfall 119)", () => {
    const lockfile = readFileSync(new URL("../../../../pnpm-lock.yaml", import.meta.url), "utf8");
    expect(lockfile).toContain("amqplib@");
    expect(lockfile).not.toContain("@types/amqplib");
  });
});
