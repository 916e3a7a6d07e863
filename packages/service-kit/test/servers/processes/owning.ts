/** Opens resources that close within SLOWLY ms, never (STUBBORN), or with an error (BROKEN). */
import { setTimeout as sleep } from "node:timers/promises";
import { runService } from "../../../src/index.ts";

await runService({ name: "owning", port: 0, settings: {} }, async ({ closeOnStop }) => {
  const open = (name: string, close: () => Promise<unknown>) =>
    closeOnStop({ close: () => close().then(() => console.log(`closed ${name}`)) }, name);
  open("first", async () => {});
  if (process.env["STUBBORN"] === "1") open("the stubborn one", () => sleep(60_000));
  if (process.env["BROKEN"] === "1") open("the broken one", () => Promise.reject(new Error("broken")));
  open("last", () => sleep(Number(process.env["SLOWLY"] ?? 0)));
});
