import { subscribe, unsubscribe } from "node:diagnostics_channel";
import { existsSync } from "node:fs";

/** Blocks the event loop once, after the commit and before the acknowledgement, until the file BLOCK_UNTIL exists. */
const until = process.env["BLOCK_UNTIL"] ?? "";
const still = new Int32Array(new SharedArrayBuffer(4));

function block(): void {
  unsubscribe("inbox:committed", block);
  while (!existsSync(until)) Atomics.wait(still, 0, 0, 50);
}

subscribe("inbox:committed", block);
