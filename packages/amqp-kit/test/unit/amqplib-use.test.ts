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
    expect(filesThatSay(/x-queue-type/)).toEqual(["topology.ts"]);
  });

  test("limits that amqplib and the broker negotiate better (pitfall 45)", () => {
    for (const word of [/frame_?max/i, /channel_?max/i]) expect(filesThatSay(word)).toEqual([]);
    expect(filesThatSay(/heartbeat/)).toContain("connection.ts");
  });

  test("calls that have a better one (pitfall 12b)", () => {
    expect(filesThatSay(/waitForConfirms/)).toEqual([]);
    expect(filesThatSay(/confirmChannel/)).toContain("publisher.ts");
  });
});
