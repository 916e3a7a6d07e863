import { randomUUID } from "node:crypto";
import { countedRegistrations, postPatient, postUntilAccepted } from "../clients.ts";
import { check, type Observed } from "../report.ts";
import type { Demo } from "./demo.ts";
import { checkBookedAndCounted, personNamed } from "./patients.ts";

export async function stopRegistry({ processes, services, signal, print }: Demo): Promise<Observed> {
  const { api, reporting } = services;
  const before = await countedRegistrations(reporting.url, signal);
  await processes.stop(services.registry);
  print("patient-registry is stopped");
  const person = personNamed("Barbara Liskov");
  const key = randomUUID();
  const refused = await postPatient(api.url, person, key, signal);
  print(`POST /patients is answered ${refused.status} ${refused.code} in ${refused.ms} ms`);
  check(refused.status === 503 && refused.code === "no_responder", `it was answered ${refused.status} ${refused.code}`);
  check(refused.ms < 1_000, `it took ${refused.ms} ms to learn that there is no responder`);
  print("patient-registry starts again; the client repeats the request twice under the same key");
  services.registry = await processes.start("patient-registry");
  const repeats = [
    ...(await postUntilAccepted(api.url, person, key, signal)),
    ...(await postUntilAccepted(api.url, person, key, signal)),
  ];
  const patientIds = new Set(repeats.flatMap(({ patientId }) => patientId ?? []));
  check(patientIds.size === 1, `the repeats returned ${patientIds.size} different patients`);
  const received = await checkBookedAndCounted([...patientIds], before, services, signal);
  print("both repeated requests are answered with the same patient, who is registered, booked and counted once");
  return { sent: [person], received: { "add-patient-api": [refused, ...repeats], ...received } };
}
