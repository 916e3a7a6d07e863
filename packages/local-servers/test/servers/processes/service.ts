/** A service as small as can be: ready line, echo of its stdin, orderly stop. */
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { createInterface } from "node:readline";

const server = createServer((_request, response) => response.end(JSON.stringify(process.env)));
server.listen(0, "127.0.0.1", () => {
  console.log("starting");
  if (process.env["NEVER_READY"] === undefined) {
    console.log(JSON.stringify({ msg: "ready", port: (server.address() as AddressInfo).port }));
  }
});
createInterface({ input: process.stdin }).on("line", (line) => console.error(`heard ${line}`));
process.on("SIGTERM", () => {
  if (process.env["DEAF"] === undefined) process.exit(0);
});
