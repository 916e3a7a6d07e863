/** Preloaded: kills its process at the named point that KILL_AT names, the second time it is passed. */
import { subscribe } from "node:diagnostics_channel";

let passed = 0;
subscribe(process.env["KILL_AT"] ?? "", () => {
  passed += 1;
  if (passed === 2) process.kill(process.pid, "SIGKILL");
});
