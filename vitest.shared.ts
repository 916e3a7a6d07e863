import { defineConfig } from "vitest/config";

/** Settings of every workspace's tests. `test/unit` needs nothing; `test/servers` finds or starts its own servers. */
export const servers = defineConfig({
  test: {
    include: ["test/**/*.test.ts"],
    typecheck: { enabled: true, include: ["test/unit/**/*.test-d.ts"] },
    expect: { requireAssertions: true, poll: { timeout: 15_000, interval: 20 } },
    testTimeout: 30_000,
    hookTimeout: 120_000,
  },
});
