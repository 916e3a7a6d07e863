/**
 * The whole shop in a process of its own. "close" on stdin closes it, "settle" once all that was confirmed is handled, or 10 s later.
 * What is left of it then it tells, and ends by itself.
 */
import { once } from "node:events";
import { setImmediate, setTimeout as sleep } from "node:timers/promises";
import { Shop } from "../shop.ts";

const warnings: string[] = [];
process.on("warning", ({ name, message }) => warnings.push(`${name}: ${message}`));

const shop = await Shop.open(process.env["AMQP_URL"] ?? "");
shop.work();
console.log(JSON.stringify({ msg: "ready" }));
const [wish] = await once(process.stdin, "data");
process.stdin.destroy();
if (String(wish) === "settle\n") {
  await shop.rest();
  for (const since = performance.now(); shop.missing.length > 0 && performance.now() - since < 10_000;) await sleep(20);
}
const unconfirmed = await shop.close();
const left = (): string[] => process.getActiveResourcesInfo().filter((name) => name !== "PipeWrap");
// A socket that was closed, or a short pause that began, this very moment is over soon
for (const since = performance.now(); left().length > 0 && performance.now() - since < 300;) await setImmediate();
const { confirmed, answers, heard, missing } = shop;
const used = { confirmed: confirmed.length, answers, heard: heard.length };
console.log(JSON.stringify({ msg: "closed", left: left(), warnings, unconfirmed, used, missing: missing.length }));
