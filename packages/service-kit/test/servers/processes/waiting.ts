/** Waits in its start for something that does not come: until the signal, or (DEAF) for ever. */
import { once } from "node:events";
import { setTimeout as sleep } from "node:timers/promises";
import { runService } from "../../../src/index.ts";

await runService({ name: "waiting", port: 0, settings: {} }, async ({ signal, own }) => {
  own({ close: () => console.log("closed what was opened before") });
  console.log("waiting");
  if (process.env["DEAF"] === "1") await sleep(60_000);
  await once(signal, "abort");
  own({ close: () => console.log("closed what came late") });
  signal.throwIfAborted();
});
