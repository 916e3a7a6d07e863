import { defineConfig } from "tsdown";

/** What npm users get; inside this repository everybody imports src directly. */
export default defineConfig({
  entry: ["src/index.ts", "src/contract.ts"],
  format: "esm",
  platform: "node",
  target: "node22",
  dts: true,
  publint: false,
});
