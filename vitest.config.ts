import { defineConfig, mergeConfig } from "vitest/config";
import { servers } from "./vitest.shared.ts";

/** All workspaces in one run: `npm test`, and editors. */
export default defineConfig({
  test: {
    projects: [
      "packages/*",
      "services/*",
      "demo",
      "chaos",
      "interop",
      "deploy/setup",
      "bench",
      mergeConfig(servers, { test: { name: "scripts", root: "scripts" } }),
    ],
  },
});
