import { subscribe } from "node:diagnostics_channel";

/** The worst moment to die: the appointment stands, the message is not acknowledged yet. */
subscribe("inbox:committed", () => process.kill(process.pid, "SIGKILL"));
