import { subscribe } from "node:diagnostics_channel";

/** Kills the process after its transaction has committed and before it acknowledges the message. */
subscribe("inbox:committed", () => process.kill(process.pid, "SIGKILL"));
