/** Preloaded with `--import`. Kills the process with SIGKILL at the named point of a transaction: the channel KILL_AT. */
import { subscribe } from "node:diagnostics_channel";

subscribe(String(process.env["KILL_AT"]), () => process.kill(process.pid, "SIGKILL"));
