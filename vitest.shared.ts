import { fileURLToPath } from "node:url";
import { defineConfig } from "vitest/config";

/** Settings of all tests. The root's vitest.config.ts runs all workspaces; each workspace has one to be run alone. */
export const servers = defineConfig({
  test: {
    include: ["test/**/*.test.ts"],
    // One broker and one PostgreSQL per run, started when the first test asks for one
    globalSetup: fileURLToPath(new URL("packages/local-servers/src/vitest/global-setup.ts", import.meta.url)),
    // Tests mostly wait: more of them at a time than the machine has processors
    maxWorkers: 4,
    expect: { requireAssertions: true, poll: { timeout: 15_000, interval: 20 } },
    // Enough for a broker's restart on a busy machine with two cores
    testTimeout: 60_000,
    hookTimeout: 120_000,
  },
});
