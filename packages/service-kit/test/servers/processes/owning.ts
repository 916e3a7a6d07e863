/** Owns things that close in SLOWLY ms, never (STUBBORN), or with an error (BROKEN). */
import { setTimeout as sleep } from "node:timers/promises";
import { runService } from "../../../src/index.ts";

await runService({ name: "owning", port: 0, settings: {} }, async ({ own }) => {
  const thing = (name: string, close: () => Promise<unknown>) =>
    own({ close: () => close().then(() => console.log(`closed ${name}`)) }, name);
  thing("first", async () => {});
  if (process.env["STUBBORN"] === "1") thing("the stubborn one", () => sleep(60_000));
  if (process.env["BROKEN"] === "1") thing("the broken one", () => Promise.reject(new Error("broken")));
  thing("last", () => sleep(Number(process.env["SLOWLY"] ?? 0)));
});
