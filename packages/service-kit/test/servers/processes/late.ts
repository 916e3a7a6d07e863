/** Is ready while the last line of stdin is "ready". With READY=never its check never answers. */
import { runService } from "../../../src/index.ts";

let isReady = false;
process.stdin.on("data", (text) => (isReady = String(text).trim() === "ready"));

await runService({ name: "late", port: 0, settings: {} }, async () => ({
  isReady: () => (process.env["READY"] === "never" ? new Promise<boolean>(() => {}) : isReady),
}));
