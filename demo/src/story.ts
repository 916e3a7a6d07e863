import { randomUUID } from "node:crypto";
import { setTimeout as sleep } from "node:timers/promises";
import { ScoreUpdate } from "@amqp-idioms/contracts";
import type { RabbitMq } from "@amqp-idioms/local-servers";
import type { Cast, Player } from "./cast.ts";
import {
  type Answer,
  appointedPatients,
  countedRegistrations,
  type Person,
  postPatient,
  postUntilAccepted,
  ScoreFeed,
  until,
} from "./clients.ts";
import { hold, type Observed } from "./report.ts";
import type { WireMessage } from "./wire.ts";

/** The story: five steps, each with what one should notice. A step throws `NotHeld` when something does not hold. */

export interface Stage {
  broker: RabbitMq;
  cast: Cast;
  signal: AbortSignal;
  /** Tells the onlooker what just happened. */
  say: (line: string) => void;
}

export interface Step {
  name: string;
  notice: string;
  play: (stage: Stage, players: Players) => Promise<Observed>;
}

/** The services that stay on from step to step. */
export interface Players {
  display: Player;
  api: Player;
  registry: Player;
  scheduling: Player;
  reporting: Player;
}

const oneMatch = ["--speed", "12"];
const matchAfterMatch = ["--speed", "60", "--repeat", "1"];
const loadMs = 3_000;
const loadEveryMs = 100;

export const story: readonly Step[] = [
  {
    name: "Broadcast: live scores",
    notice: "each display shows just what was said while it listened; nobody waits for anybody",
    play: playScores,
  },
  {
    name: "Request/response, and notify: a patient is added",
    notice: "the answer comes back through the reply queue; scheduling and reporting both learn of it",
    play: addOnePatient,
  },
  {
    name: "Notify: scheduling is down for a while",
    notice: "its queue keeps what comes meanwhile; nothing is lost and nothing is doubled",
    play: catchUp,
  },
  {
    name: "Request/response: patient-registry is down for a while",
    notice:
      "the API says at once that nobody can take the request; repeated under the same Idempotency-Key, it is accepted once",
    play: repeatUnderOneKey,
  },
  {
    name: "All of them: the broker goes away under load",
    notice: "clients repeat what failed, services come back by themselves, and everything is there once",
    play: loseTheBroker,
  },
];

async function playScores({ cast, signal, say }: Stage, { display }: Players): Promise<Observed> {
  const shows = (name: string) => (update: ScoreUpdate) => say(`${name} shows ${told(update)}`);
  const first = await ScoreFeed.open(display.url, signal, shows("display 1"));
  const leaving = await cast.start("score-display", { name: "score-display 2" });
  const second = await ScoreFeed.open(leaving.url, signal, shows("display 2"));
  const producer = await cast.start("score-producer", { args: oneMatch });
  const published = updatesPublishedBy(producer);

  await until("display 2 shows two updates", signal, () => second.updates.length >= 2);
  await cast.stop(leaving);
  say("display 2 leaves");
  const late = await cast.start("score-display", { name: "score-display 3" });
  const third = await ScoreFeed.open(late.url, signal, shows("display 3"));
  say("display 3 joins");
  await producer.process.exited;
  await cast.stop(producer);

  const sent = published().map(told);
  const last = sent.at(-1);
  const isShown = (feed: ScoreFeed): boolean => last !== undefined && feed.updates.map(told).includes(last);
  await until("displays 1 and 3 show the last update", signal, () => isShown(first) && isShown(third), 5_000);
  await cast.stop(late);
  const received = {
    "score-display 1": first.updates.map(told),
    "score-display 2": second.updates.map(told),
    "score-display 3": third.updates.map(told),
  };
  const [all, beginning, end] = Object.values(received);
  hold(isSame(all, sent), "display 1 was there all the time, and did not show just what was sent");
  hold(isSame(beginning, sent.slice(0, beginning?.length)), "display 2 did not show the beginning of what was sent");
  hold(second.updates.length < sent.length, "display 2 left in mid-match, and shows what came later");
  hold(isSame(end, sent.slice(sent.length - third.updates.length)), "display 3 did not show the end of what was sent");
  hold(third.updates.length < sent.length, "display 3 came late, and shows what came before");
  return { sent, received };
}

async function addOnePatient({ signal, say }: Stage, players: Players): Promise<Observed> {
  const { api, registry, reporting } = players;
  const before = await countedRegistrations(reporting.url, signal);
  const person = { given: "Ada", surname: "Lovelace", birthDate: "1990-12-10" };
  const answer = await postPatient(api.url, person, randomUUID(), signal);
  hold(answer.status === 201, `POST /patients was answered ${answer.status} ${answer.code}`);
  const patientId = accepted([answer]);
  say(`POST /patients is answered 201 in ${answer.ms} ms: patient ${patientId}`);

  const request = registry.wire.messages.find(
    (message) => isDelivered(message, "api") && message.body.includes("Lovelace"),
  );
  const reply = api.wire.messages.find((message) => isDelivered(message, "") && message.body.includes(patientId));
  hold(request !== undefined, "the request was not seen on the wire");
  hold(reply !== undefined, "the answer was not seen on the wire");
  hold(
    reply?.routingKey === request?.replyTo,
    "the answer did not come through the reply queue that the request named",
  );
  hold(reply?.correlationId === request?.correlationId, "the answer does not carry the request's correlation id");
  say(`the answer came through reply queue ${reply?.routingKey}`);
  const known = await untilKnown([patientId], before, players, signal);
  say("scheduling has booked an appointment, reporting has counted the registration");
  return {
    sent: [person],
    received: { "add-patient-api": [{ patientId, replyQueue: reply?.routingKey }], ...known },
  };
}

async function catchUp({ cast, signal, say }: Stage, players: Players): Promise<Observed> {
  const before = await countedRegistrations(players.reporting.url, signal);
  await cast.stop(players.scheduling);
  say("scheduling is stopped");
  const people = ["Grace Hopper", "Alan Turing", "Edsger Dijkstra"].map(personNamed);
  const patientIds: string[] = [];
  for (const person of people) {
    patientIds.push(accepted(await postUntilAccepted(players.api.url, person, randomUUID(), signal)));
  }
  say(`${people.length} patients are added meanwhile`);
  await until(
    "reporting counts every patient",
    signal,
    async () => (await countedRegistrations(players.reporting.url, signal)) - before >= people.length,
  );
  say("reporting knows them already; scheduling starts again");
  players.scheduling = await cast.start("scheduling");
  const known = await untilKnown(patientIds, before, players, signal);
  say(`scheduling has caught up: an appointment for each of the ${people.length}, none twice`);
  return { sent: people, received: known };
}

async function repeatUnderOneKey({ cast, signal, say }: Stage, players: Players): Promise<Observed> {
  const before = await countedRegistrations(players.reporting.url, signal);
  await cast.stop(players.registry);
  say("patient-registry is stopped");
  const person = personNamed("Barbara Liskov");
  const key = randomUUID();
  const refused = await postPatient(players.api.url, person, key, signal);
  say(`POST /patients is answered ${refused.status} ${refused.code} in ${refused.ms} ms`);
  hold(refused.status === 503 && refused.code === "no_responder", `it was answered ${refused.status} ${refused.code}`);
  hold(refused.ms < 1_000, `it took ${refused.ms} ms to say that nobody is there`);
  players.registry = await cast.start("patient-registry");
  say("patient-registry starts again; the same request is sent twice more under the same key");
  const repeats = [...(await postUntilAccepted(players.api.url, person, key, signal))];
  repeats.push(...(await postUntilAccepted(players.api.url, person, key, signal)));
  const patientIds = new Set(repeats.flatMap(({ patientId }) => patientId ?? []));
  hold(patientIds.size === 1, `the repeats were given ${patientIds.size} different patients`);
  const known = await untilKnown([...patientIds], before, players, signal);
  say("both were given the same patient, who was registered, booked and counted once");
  return { sent: [person], received: { "add-patient-api": [refused, ...repeats], ...known } };
}

async function loseTheBroker(stage: Stage, players: Players): Promise<Observed> {
  const { broker, cast, signal, say } = stage;
  const before = await countedRegistrations(players.reporting.url, signal);
  const producer = await cast.start("score-producer", { args: matchAfterMatch });
  const feed = await ScoreFeed.open(players.display.url, signal, () => undefined);
  const load = addPatientsUntilTold(players.api, signal);
  await sleep(loadMs, undefined, { signal });
  if (broker.isOwned) {
    say("the broker is restarted, while patients are being added and scores sent");
    await broker.restart();
    say("the broker is back");
  } else {
    say(
      "this broker is yours and stays as it is (AMQP_URL): the services' connections to it are cut instead, by a proxy",
    );
    for (const { proxy } of cast.playing) proxy.cut();
  }
  await until("every service is ready again", signal, () => areReady(cast.playing), 90_000);
  await sleep(loadMs, undefined, { signal });
  const { people, answers } = await load.stop();
  const patientIds = people.map((_, index) => accepted(answers[index] ?? []));
  const repeated = answers.filter((list) => list.length > 1).length;
  say(`${people.length} patients were added, ${repeated} of them only when the client repeated the request`);
  const known = await untilKnown(patientIds, before, players, signal);
  say("each of them is booked and counted once");

  const shownBefore = feed.updates.length;
  await until("the display shows scores again", signal, () => feed.updates.length >= shownBefore + 2);
  say(`the display shows scores again: ${told(feed.updates.at(-1))}`);
  await cast.stop(producer);
  return { sent: people, received: { ...known, "score-display 1": feed.updates.slice(shownBefore).map(told) } };
}

/** One patient after another, each repeated under its key until it is accepted. */
function addPatientsUntilTold(
  api: Player,
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
  }, loadEveryMs);
  signal.addEventListener("abort", () => clearInterval(timer));
  return {
    stop: async () => {
      clearInterval(timer);
      return { people, answers: await Promise.all(answers) };
    },
  };
}

/** Waits until scheduling and reporting know each patient once, and looks that they go on doing so. */
async function untilKnown(
  patientIds: readonly string[],
  countedBefore: number,
  { scheduling, reporting }: Players,
  signal: AbortSignal,
): Promise<Record<string, unknown[]>> {
  const booked = async (): Promise<string[]> =>
    (await appointedPatients(scheduling.url, signal)).filter((patientId) => patientIds.includes(patientId));
  const counted = async (): Promise<number> => (await countedRegistrations(reporting.url, signal)) - countedBefore;
  await until("scheduling books every patient", signal, async () => new Set(await booked()).size === patientIds.length);
  await until("reporting counts every patient", signal, async () => (await counted()) >= patientIds.length);
  const appointments = await booked();
  const count = await counted();
  hold(
    appointments.length === patientIds.length,
    `${patientIds.length} patients have ${appointments.length} appointments`,
  );
  hold(count === patientIds.length, `${patientIds.length} patients were counted as ${count}`);
  return { scheduling: appointments, reporting: [{ counted: count }] };
}

/** The patient's id; the same one, however often it was asked for. */
function accepted(answers: readonly Answer[]): string {
  const patientId = answers.at(-1)?.patientId;
  hold(patientId !== undefined, "a patient was not accepted");
  return patientId ?? "";
}

function updatesPublishedBy(producer: Player): () => ScoreUpdate[] {
  return () =>
    producer.wire.messages
      .filter(({ direction, exchange }) => direction === "published" && exchange === "score_updates")
      .map(({ body }) => ScoreUpdate.parse(JSON.parse(body)));
}

async function areReady(players: readonly Player[]): Promise<boolean> {
  const answers = await Promise.all(
    players.map(({ url }) =>
      fetch(`${url}/readyz`).then(
        ({ status }) => status,
        () => 0,
      ),
    ),
  );
  return answers.every((status) => status === 200);
}

function isDelivered(message: WireMessage, exchange: string): boolean {
  return message.direction === "delivered" && message.exchange === exchange;
}

function isSame(one: readonly string[] | undefined, other: readonly string[]): boolean {
  return one?.join("\n") === other.join("\n");
}

function personNamed(name: string): Person {
  const [given = "", surname = ""] = name.split(" ");
  return { given, surname };
}

function told(update: ScoreUpdate | undefined): string {
  if (update === undefined) return "nothing";
  const { home, away, event } = update;
  return `${home.team} ${home.score} : ${away.score} ${away.team}, ${event}`;
}
