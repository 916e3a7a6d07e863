/** Preloaded by `--import`: this process stands still for 6 s, once, at a named point, whose channel STALL_AT names. */
import { subscribe, unsubscribe } from "node:diagnostics_channel";

const name = String(process.env["STALL_AT"]);
const stall = (): void => {
  unsubscribe(name, stall);
  Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 6_000);
};
subscribe(name, stall);
