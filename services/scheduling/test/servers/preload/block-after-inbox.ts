import { subscribe, unsubscribe } from "node:diagnostics_channel";
import { existsSync } from "node:fs";

/** The worst moment to block the event loop: the appointment stands, the message is not acknowledged yet. Once, until a file is there. */
const until = process.env["BLOCK_UNTIL"] ?? "";
const still = new Int32Array(new SharedArrayBuffer(4));

function block(): void {
  unsubscribe("inbox:committed", block);
  while (!existsSync(until)) Atomics.wait(still, 0, 0, 50);
}

subscribe("inbox:committed", block);
