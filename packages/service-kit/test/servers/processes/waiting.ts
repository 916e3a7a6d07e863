/** Its start waits until the stop signal, or forever (DEAF). */
import { once } from "node:events";
import { setTimeout as sleep } from "node:timers/promises";
import { runService } from "../../../src/index.ts";

await runService({ name: "waiting", port: 0, settings: {} }, async ({ signal, closeOnStop }) => {
  closeOnStop({ close: () => console.log("closed what was opened before the signal") });
  console.log("waiting");
  if (process.env["DEAF"] === "1") await sleep(60_000);
  await once(signal, "abort");
  closeOnStop({ close: () => console.log("closed what was opened after the signal") });
  signal.throwIfAborted();
});
