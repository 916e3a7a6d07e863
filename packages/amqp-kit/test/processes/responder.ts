/** A responder in a process of its own, to be frozen or killed: prints each request that it begins, and answers with its number. */
import { setTimeout as sleep } from "node:timers/promises";
import { connect } from "../../src/index.ts";
import { quote, system } from "../contracts.ts";

const { AMQP_URL: url = "", NUMBER: number = "0", WORK_MS: workMs = "0" } = process.env;
const warehouse = await connect(url, { system, service: "warehouse" });
await warehouse.respond(quote, async ({ article }) => {
  console.log(JSON.stringify({ begun: article }));
  await sleep(Number(workMs));
  return { article, cents: Number(number) };
});
console.log(JSON.stringify({ msg: "ready" }));
