/** Starts what its argument names, says so, and is then killed by the test without a chance to clean up. */
import { startPostgres, startProcess, startRabbitMq } from "../../../src/index.ts";

const [what, source] = process.argv.slice(2);
if (what === "rabbitmq") await startRabbitMq({ from: [source === "machine" ? "machine" : "container"] });
if (what === "postgres") await startPostgres({ from: [source === "machine" ? "machine" : "container"] });
if (what === "process") await startProcess({ command: "sleep", args: ["3600"], cwd: process.env["TMPDIR"] ?? "/" });
console.log(JSON.stringify({ msg: "ready" }));
setInterval(() => {}, 60_000);
