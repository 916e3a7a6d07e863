import { randomUUID } from "node:crypto";
import { countedRegistrations, postPatient } from "../clients.ts";
import { check, type Observed } from "../report.ts";
import type { WireMessage } from "../wire.ts";
import type { Demo } from "./demo.ts";
import { checkBookedAndCounted, patientIdOf } from "./patients.ts";

export async function addOnePatient({ services, signal, print }: Demo): Promise<Observed> {
  const { api, registry, reporting } = services;
  const before = await countedRegistrations(reporting.url, signal);
  const person = { given: "Ada", surname: "Lovelace", birthDate: "1990-12-10" };
  const answer = await postPatient(api.url, person, randomUUID(), signal);
  check(answer.status === 201, `POST /patients was answered ${answer.status} ${answer.code}`);
  const patientId = patientIdOf([answer]);
  print(`POST /patients is answered 201 in ${answer.ms} ms: patient ${patientId}`);

  const request = registry.wire.messages.find(
    (message) => isDelivered(message, "api") && message.body.includes("Lovelace"),
  );
  const reply = api.wire.messages.find((message) => isDelivered(message, "") && message.body.includes(patientId));
  check(request !== undefined, "the request was not seen on the wire");
  check(reply !== undefined, "the reply was not seen on the wire");
  check(reply?.routingKey === request?.replyTo, "the reply did not use the reply queue that the request named");
  check(reply?.correlationId === request?.correlationId, "the reply does not carry the request's correlation id");
  print(`the reply arrived on reply queue ${reply?.routingKey}`);
  const received = await checkBookedAndCounted([patientId], before, services, signal);
  print("scheduling has booked an appointment, and reporting has counted the registration");
  return {
    sent: [person],
    received: { "add-patient-api": [{ patientId, replyQueue: reply?.routingKey }], ...received },
  };
}

function isDelivered(message: WireMessage, exchange: string): boolean {
  return message.direction === "delivered" && message.exchange === exchange;
}
