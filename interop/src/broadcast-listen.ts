/** Broadcast, a listener: `node interop/src/broadcast-listen.ts [amqp://…]` */
import { once } from "node:events";
import { scoreUpdates, system } from "@amqp-idioms/contracts";
import { connect } from "amqp-kit";

const url = process.argv[2] ?? process.env["AMQP_URL"] ?? "amqp://localhost";
await using amqp = await connect(url, { system, service: "score-display" });

await amqp.listen(scoreUpdates, ({ home, away, event }) => {
  console.log(`${home.team} ${home.score}: ${away.team} ${away.score}\n${event}`);
});
console.log("Waiting; press Ctrl-C to stop");
await once(process, "SIGINT");
