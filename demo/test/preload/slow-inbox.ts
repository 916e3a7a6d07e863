import { subscribe } from "node:diagnostics_channel";

const never = new Int32Array(new SharedArrayBuffer(4));

/** Blocks the process for 50 ms after each transaction, so that it does not handle all messages before a test stops it. */
subscribe("inbox:committed", () => void Atomics.wait(never, 0, 0, 50));
