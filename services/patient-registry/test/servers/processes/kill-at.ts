/** Preloaded by `--import`: kill -9 of this process at a named point, whose channel KILL_AT names. */
import { subscribe } from "node:diagnostics_channel";

subscribe(String(process.env["KILL_AT"]), () => process.kill(process.pid, "SIGKILL"));
