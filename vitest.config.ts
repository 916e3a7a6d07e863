import { defineConfig, mergeConfig } from "vitest/config";
import { servers } from "./vitest.shared.ts";

/** All workspaces in one run: `npm test`, and editors. Two files at a time: more would starve the brokers on two cores. */
export default defineConfig({
  test: {
    projects: [
      "packages/*",
      "services/*",
      "demo",
      "interop",
      mergeConfig(servers, { test: { name: "scripts", root: "scripts" } }),
    ],
    maxWorkers: 2,
  },
});
