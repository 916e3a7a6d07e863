/** Is ready when it is told so on its stdin; READY=never asks something that never answers. */
import { runService } from "../../../src/index.ts";

let isReady = false;
process.stdin.on("data", (text) => (isReady = String(text).trim() === "ready"));

await runService({ name: "late", port: 0, settings: {} }, async () => ({
  isReady: () => (process.env["READY"] === "never" ? new Promise<boolean>(() => {}) : isReady),
}));
