/** All three idioms as fast as they go, many calls of each at a time; says twice a second how it fares. Until it is killed. */
import { setTimeout as sleep } from "node:timers/promises";
import { connect } from "../../src/index.ts";
import { orderPlaced, prices, quote, system } from "../contracts.ts";

const url = process.env["AMQP_URL"] ?? "";
const article = "x".repeat(1_000);
/** More notifications than may be unconfirmed. */
const callers = { broadcast: 100, notify: 1_500, request: 500 };
const done = { broadcast: 0, notify: 0, request: 0, heard: 0, handled: 0 };

const market = await connect(url, { system, service: "market" });
const board = await connect(url, { system, service: "board" });
const till = await connect(url, { system, service: "till" });
const billing = await connect(url, { system, service: "billing" });
const shipping = await connect(url, { system, service: "shipping" });
const warehouse = await connect(url, { system, service: "warehouse" });
await board.listen(prices, () => void done.heard++);
await billing.subscribe(orderPlaced, () => void done.handled++, { concurrency: 50 });
await shipping.subscribe(orderPlaced, () => undefined, { concurrency: 50 });
await warehouse.respond(quote, () => ({ article: "lamp", cents: 1 }), { concurrency: 50 });

const options = { timeoutMs: 10_000 };
const verbs = {
  broadcast: () => market.broadcast(prices, { article, cents: 1 }),
  notify: () => till.notify(orderPlaced, { orderId: "1", article, pieces: 1 }, options),
  request: () => till.request(quote, { article, pieces: 1 }, options),
};
for (const verb of ["broadcast", "notify", "request"] as const) {
  for (let caller = 0; caller < callers[verb]; caller++) void callOverAndOver(verb);
}

async function callOverAndOver(verb: keyof typeof verbs): Promise<never> {
  for (;;) {
    await verbs[verb]().then(
      () => done[verb]++,
      // Those that are refused at once would leave the others no time
      () => sleep(20),
    );
  }
}

const say = (facts: object): void => console.log(JSON.stringify(facts));
setInterval(() => {
  const { heapUsed, external, rss } = process.memoryUsage();
  say({ msg: "figures", usedBytes: heapUsed + external, rss, ...done });
}, 500);
say({ msg: "ready" });
