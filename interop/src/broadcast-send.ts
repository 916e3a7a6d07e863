/** Broadcast, the sender: `node interop/src/broadcast-send.ts [amqp://…]` */
import { scoreUpdates, system } from "@amqp-idioms/contracts";
import { connect } from "amqp-kit";

const url = process.argv[2] ?? process.env["AMQP_URL"] ?? "amqp://localhost";
await using amqp = await connect(url, { system, service: "score-producer" });

await amqp.broadcast(scoreUpdates, {
  match: "AL - FL",
  home: { team: "AL", score: 24 },
  away: { team: "FL", score: 7 },
  event: "Touch down by Tim Tebow",
  at: new Date().toISOString(),
});
