import { randomUUID } from "node:crypto";
import { setTimeout as sleep } from "node:timers/promises";
import { type Answer, countedRegistrations, type Person, postUntilAccepted, ScoreFeed, waitUntil } from "../clients.ts";
import type { RunningService } from "../processes.ts";
import type { Observed } from "../report.ts";
import type { Demo } from "./demo.ts";
import { checkBookedAndCounted, patientIdOf, personNamed } from "./patients.ts";
import { textOf } from "./scores.ts";

const matchAfterMatch = ["--speed", "60", "--repeat", "1"];
const loadMs = 3_000;
const patientEveryMs = 100;

export async function restartBroker(demo: Demo): Promise<Observed> {
  const { processes, services, signal, print } = demo;
  const before = await countedRegistrations(services.reporting.url, signal);
  const producer = await processes.start("score-producer", { args: matchAfterMatch });
  const feed = await ScoreFeed.open(services.display.url, signal, () => undefined);
  const load = startAddingPatients(services.api, signal);
  print(`scores are sent, and a patient is added every ${patientEveryMs} ms`);
  await sleep(loadMs, undefined, { signal });
  await breakConnections(demo);
  await waitUntil("every service is ready again", signal, () => areReady(processes.running), 90_000);
  print("every service is ready again");
  await sleep(loadMs, undefined, { signal });
  const { people, answers } = await load.stop();
  const patientIds = answers.map(patientIdOf);
  const repeated = answers.filter((list) => list.length > 1).length;
  print(`${people.length} patients were added; for ${repeated} of them the client had to repeat the request`);
  const received = await checkBookedAndCounted(patientIds, before, services, signal);
  print("each of them is booked and counted once");

  const shownBefore = feed.updates.length;
  await waitUntil("the display shows scores again", signal, () => feed.updates.length >= shownBefore + 2);
  print(`the display shows scores again: ${feed.updates.slice(-1).map(textOf).join()}`);
  await processes.stop(producer);
  return { sent: people, received: { ...received, "score-display 1": feed.updates.slice(shownBefore).map(textOf) } };
}

async function breakConnections({ broker, processes, print }: Demo): Promise<void> {
  if (broker.isOwned) {
    print("the broker restarts");
    await broker.restart();
    print("the broker is running again");
  } else {
    print("AMQP_URL names your broker, so it is not restarted: a proxy cuts the services' connections to it instead");
    for (const { proxy } of processes.running) proxy.cut();
  }
}

/** Starts a registration at a fixed interval, and repeats each under its key until it is accepted. */
function startAddingPatients(
  api: RunningService,
  signal: AbortSignal,
): { stop: () => Promise<{ people: Person[]; answers: Answer[][] }> } {
  const people: Person[] = [];
  const answers: Promise<Answer[]>[] = [];
  const timer = setInterval(() => {
    const person = personNamed(`Patient ${people.length + 1}`);
    people.push(person);
    const answer = postUntilAccepted(api.url, person, randomUUID(), signal);
    answer.catch(() => undefined);
    answers.push(answer);
  }, patientEveryMs);
  signal.addEventListener("abort", () => clearInterval(timer));
  return {
    stop: async () => {
      clearInterval(timer);
      return { people, answers: await Promise.all(answers) };
    },
  };
}

async function areReady(services: readonly RunningService[]): Promise<boolean> {
  const answers = await Promise.all(
    services.map(({ url }) =>
      fetch(`${url}/readyz`).then(
        ({ status }) => status,
        () => 0,
      ),
    ),
  );
  return answers.every((status) => status === 200);
}
