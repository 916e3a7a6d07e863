/** Notify, a subscriber: `node interop/src/notify-subscribe.ts [amqp://…]` */
import { once } from "node:events";
import { patientAdded, system } from "@amqp-idioms/contracts";
import { connect } from "amqp-kit";

const url = process.argv[2] ?? process.env["AMQP_URL"] ?? "amqp://localhost";
await using amqp = await connect(url, { system, service: "reporting" });

// Acknowledges when the handler has returned. Retries when it throws, and finally dead-letters the message
await amqp.subscribe(patientAdded, ({ given, surname, patientId }) => {
  console.log(`${given} ${surname}, ${patientId}`);
});
console.log("Waiting; press Ctrl-C to stop");
await once(process, "SIGINT");
