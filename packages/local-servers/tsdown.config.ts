import { defineConfig } from "tsdown";

/** What npm users get; inside this repository everybody imports src directly. */
export default defineConfig({
  entry: ["src/index.ts", "src/cli.ts", "src/vitest/{fixtures,global-setup}.ts", "src/processes/watchdog-main.ts"],
  // File by file: the watchdog starts the file beside its own
  unbundle: true,
  format: "esm",
  platform: "node",
  target: "node22",
  // src alone: with the tests included, declarations would be written beside files outside of this package
  tsconfig: "tsconfig.build.json",
  dts: true,
  publint: false,
});
