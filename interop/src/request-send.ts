/** Request/response, the requester: `node interop/src/request-send.ts [amqp://…]` */
import { addPatient, system } from "@amqp-idioms/contracts";
import { connect } from "amqp-kit";

const url = process.argv[2] ?? process.env["AMQP_URL"] ?? "amqp://localhost";
await using amqp = await connect(url, { system, service: "add-patient-api" });

// Rejects within 500 ms without a responder, and after the timeout without a reply
const patient = await amqp.request(addPatient, { given: "John", surname: "Smith" });
console.log(JSON.stringify(patient));
