import { fileURLToPath } from "node:url";
import { defineConfig } from "vitest/config";

/** Settings of every workspace's tests. `test/unit` needs no server; `test/servers` and `test/long` find or start theirs. */
export const servers = defineConfig({
  test: {
    include: ["test/**/*.test.ts"],
    typecheck: { enabled: true, include: ["test/unit/**/*.test-d.ts"] },
    // One broker and one PostgreSQL per run, started when the first test asks for one
    globalSetup: fileURLToPath(new URL("packages/local-servers/src/vitest/global-setup.ts", import.meta.url)),
    // Most of their time tests wait. A number here, not in vitest.config.ts, whose settings the projects do not inherit
    maxWorkers: 4,
    expect: { requireAssertions: true, poll: { timeout: 15_000, interval: 20 } },
    // Enough for a broker's restart on a busy machine with two cores
    testTimeout: 60_000,
    hookTimeout: 120_000,
  },
});
