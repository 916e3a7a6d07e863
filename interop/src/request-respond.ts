/** Request/response, a responder: `node interop/src/request-respond.ts [amqp://…]` */
import { randomUUID } from "node:crypto";
import { once } from "node:events";
import { addPatient, system } from "@amqp-idioms/contracts";
import { connect } from "amqp-kit";

const url = process.argv[2] ?? process.env["AMQP_URL"] ?? "amqp://localhost";
await using amqp = await connect(url, { system, service: "patient-registry" });

await amqp.respond(addPatient, (person) => ({
  ...person,
  patientId: randomUUID(),
  registeredAt: new Date().toISOString(),
}));
console.log("Waiting; press Ctrl-C to stop");
await once(process, "SIGINT");
