import { randomUUID } from "node:crypto";
import { countedRegistrations, postUntilAccepted, waitUntil } from "../clients.ts";
import type { Observed } from "../report.ts";
import type { Demo } from "./demo.ts";
import { checkBookedAndCounted, patientIdOf, personNamed } from "./patients.ts";

export async function stopScheduling({ processes, services, signal, print }: Demo): Promise<Observed> {
  const { api, reporting } = services;
  const before = await countedRegistrations(reporting.url, signal);
  await processes.stop(services.scheduling);
  print("scheduling is stopped");
  const people = ["Grace Hopper", "Alan Turing", "Edsger Dijkstra"].map(personNamed);
  const patientIds: string[] = [];
  for (const person of people) {
    patientIds.push(patientIdOf(await postUntilAccepted(api.url, person, randomUUID(), signal)));
  }
  print(`${people.length} patients are added`);
  await waitUntil(
    "reporting counts every patient",
    signal,
    async () => (await countedRegistrations(reporting.url, signal)) - before >= people.length,
  );
  print("reporting has counted them; scheduling starts again");
  services.scheduling = await processes.start("scheduling");
  const received = await checkBookedAndCounted(patientIds, before, services, signal);
  print(`scheduling has caught up: one appointment for each of the ${people.length} patients`);
  return { sent: people, received };
}
