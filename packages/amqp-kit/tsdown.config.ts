import { defineConfig, type UserConfig } from "tsdown";

export const publicEntries = {
  index: "src/index.ts",
  contract: "src/contract.ts",
  derive: "src/derive/index.ts",
};

export const options: UserConfig = {
  format: "esm",
  platform: "node",
  target: "node22",
  // src alone: with the tests included, declarations would be written beside files outside of this package
  tsconfig: "tsconfig.build.json",
  dts: true,
  publint: false,
};

/** What npm users get; inside this repository everybody imports src directly. */
export default defineConfig({
  ...options,
  entry: { ...publicEntries, cli: "src/dead-letters/cli.ts" },
});
