/** Notify, the notifier: `node interop/src/notify-send.ts [amqp://…]` */
import { randomUUID } from "node:crypto";
import { patientAdded, system } from "@amqp-idioms/contracts";
import { connect } from "amqp-kit";

const url = process.argv[2] ?? process.env["AMQP_URL"] ?? "amqp://localhost";
await using amqp = await connect(url, { system, service: "patient-registry" });

// Resolves when the broker has confirmed the message for every subscriber of the system
await amqp.notify(patientAdded, {
  patientId: randomUUID(),
  given: "John",
  surname: "Smith",
  birthDate: null,
  registeredAt: new Date().toISOString(),
});
