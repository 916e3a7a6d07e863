/**
 * A subscriber in a process of its own, to be killed: prints each order that it begins and that it has handled. An order for a "killer"
 * kills it with -9, at once, and one for a "failing" article fails. WORK_MS is how long each takes.
 */
import { setTimeout as sleep } from "node:timers/promises";
import { connect } from "../../src/index.ts";
import { orderPlaced, system } from "../contracts.ts";

const { AMQP_URL: url = "", CONCURRENCY: concurrency = "1", WORK_MS: workMs = "0" } = process.env;
const billing = await connect(url, { system, service: "billing" });
await billing.subscribe(
  orderPlaced,
  async ({ article, pieces }, { attempt }) => {
    console.log(JSON.stringify({ begun: pieces, attempt }));
    if (article === "killer") process.kill(process.pid, "SIGKILL");
    if (article === "failing") throw new Error("out of paper");
    await sleep(Number(workMs));
    console.log(JSON.stringify({ handled: pieces }));
  },
  { concurrency: Number(concurrency), retryDelaysMs: [500] },
);
console.log(JSON.stringify({ msg: "ready" }));
