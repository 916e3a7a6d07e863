import { defineConfig } from "vitest/config";

/** All workspaces in one run: `npm test`, and editors. Two files at a time: more would starve the brokers on two cores. */
export default defineConfig({
  test: {
    projects: ["packages/*", "services/*", "demo", "interop"],
    maxWorkers: 2,
  },
});
