import { defineConfig } from "tsdown";

/** What npm users get; inside this repository everybody imports src directly. */
export default defineConfig({
  entry: { index: "src/index.ts" },
  format: "esm",
  platform: "node",
  target: "node22",
  // src alone: with the tests included, declarations would be written beside files outside of this package
  tsconfig: "tsconfig.build.json",
  dts: true,
  publint: false,
});
