import { defineConfig } from "vitest/config";
import { servers } from "./vitest.shared.ts";

const unitTests = "**/test/unit/**/*.test.ts";

/** All workspaces in one run: `npm test`, and editors. The unit tests run first, since they need processors and the others measure time. */
export default defineConfig({
  test: {
    projects: [
      {
        test: {
          ...servers.test,
          name: "unit",
          include: [unitTests],
          maxWorkers: 2,
          isolate: false,
          sequence: { groupOrder: 1 },
        },
      },
      {
        test: {
          ...servers.test,
          name: "servers",
          include: ["**/test/**/*.test.ts"],
          exclude: ["**/node_modules/**", unitTests],
          sequence: { groupOrder: 2 },
        },
      },
    ],
  },
});
