/** A preload module: kills the process when the named point KILL_AT is published for the second time. */
import { subscribe } from "node:diagnostics_channel";

let passed = 0;
subscribe(process.env["KILL_AT"] ?? "", () => {
  passed += 1;
  if (passed === 2) process.kill(process.pid, "SIGKILL");
});
