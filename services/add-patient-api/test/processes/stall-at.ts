/** Preloaded with `--import`. Blocks the process once for 6 s at the named point of a transaction: the channel STALL_AT. */
import { subscribe, unsubscribe } from "node:diagnostics_channel";

const name = String(process.env["STALL_AT"]);
const stall = (): void => {
  unsubscribe(name, stall);
  Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 6_000);
};
subscribe(name, stall);
