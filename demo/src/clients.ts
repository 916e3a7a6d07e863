import { setTimeout as sleep } from "node:timers/promises";
import { EventSourceParserStream } from "eventsource-parser/stream";
import { ScoreUpdate } from "@amqp-idioms/contracts";
import { z } from "zod";
import { check } from "./report.ts";

/** The demo as a client of the services, over HTTP only. */

export interface Person {
  given: string;
  surname: string;
  birthDate?: string;
}

const Body = z.object({ patientId: z.string().optional(), code: z.string().optional() });
const Appointments = z.array(z.object({ patientId: z.string() }));
const Registrations = z.object({ days: z.array(z.object({ count: z.number() })) });

export interface Answer {
  status: number;
  patientId: string | undefined;
  /** Of an error */
  code: string | undefined;
  ms: number;
}

export async function postPatient(url: string, person: Person, key: string, signal: AbortSignal): Promise<Answer> {
  const since = performance.now();
  const response = await fetch(`${url}/patients`, {
    method: "POST",
    headers: { "content-type": "application/json", "idempotency-key": `"${key}"` },
    body: JSON.stringify(person),
    signal,
  });
  const { patientId, code } = Body.parse(await response.json());
  return { status: response.status, patientId, code, ms: Math.round(performance.now() - since) };
}

/** Repeats the request under the same key until it is accepted, as a careful client does. @returns every answer */
export async function postUntilAccepted(
  url: string,
  person: Person,
  key: string,
  signal: AbortSignal,
): Promise<Answer[]> {
  const answers: Answer[] = [];
  for (;;) {
    const answer = await postPatient(url, person, key, signal);
    answers.push(answer);
    if (answer.status === 201) return answers;
    check(answer.status >= 500 || answer.status === 409, `POST /patients was answered ${answer.status} ${answer.code}`);
    await sleep(500, undefined, { signal });
  }
}

/** The patient ids of all appointments from today on, one per appointment. */
export async function bookedPatients(url: string, signal: AbortSignal): Promise<string[]> {
  const found: string[] = [];
  const day = new Date();
  // Weekends have no appointments; after two weeks without any there are no more
  for (let empty = 0; empty < 14; day.setUTCDate(day.getUTCDate() + 1)) {
    const appointments = Appointments.parse(await getJson(`${url}/appointments?date=${isoDate(day)}`, signal));
    empty = appointments.length === 0 ? empty + 1 : 0;
    found.push(...appointments.map(({ patientId }) => patientId));
  }
  return found;
}

/** The number of registrations that reporting has counted around today. */
export async function countedRegistrations(url: string, signal: AbortSignal): Promise<number> {
  const around = [-1, 1].map((days) => isoDate(new Date(Date.now() + days * 86_400_000)));
  const answer = await getJson(`${url}/reports/registrations?from=${around[0]}&to=${around[1]}`, signal);
  return Registrations.parse(answer).days.reduce((sum, { count }) => sum + count, 0);
}

async function getJson(url: string, signal: AbortSignal): Promise<unknown> {
  const response = await fetch(url, { signal });
  check(response.ok, `GET ${url} was answered ${response.status}`);
  return response.json();
}

function isoDate(date: Date): string {
  return date.toISOString().slice(0, 10);
}

/** The updates that a score display shows, read from its server-sent events until the display or the demo stops. */
export class ScoreFeed {
  readonly updates: ScoreUpdate[] = [];
  readonly ended: Promise<void>;

  private constructor(body: ReadableStream<Uint8Array<ArrayBuffer>>, onUpdate: (update: ScoreUpdate) => void) {
    this.ended = this.#read(body, onUpdate).catch(() => undefined);
  }

  static async open(url: string, signal: AbortSignal, onUpdate: (update: ScoreUpdate) => void): Promise<ScoreFeed> {
    const response = await fetch(`${url}/scores/events`, { signal });
    if (response.body === null) throw new Error("no event stream");
    return new ScoreFeed(response.body, onUpdate);
  }

  async #read(body: ReadableStream<Uint8Array<ArrayBuffer>>, onUpdate: (update: ScoreUpdate) => void): Promise<void> {
    const events = body.pipeThrough(new TextDecoderStream()).pipeThrough(new EventSourceParserStream());
    for await (const { event, data } of events) {
      if (event !== "score") continue;
      const update = ScoreUpdate.parse(JSON.parse(data));
      this.updates.push(update);
      onUpdate(update);
    }
  }
}

/** Polls `condition` until it is true. @throws {CheckFailed} after the timeout, with `awaited` in its message */
export async function waitUntil(
  awaited: string,
  signal: AbortSignal,
  condition: () => boolean | Promise<boolean>,
  timeoutMs = 30_000,
): Promise<void> {
  const deadline = performance.now() + timeoutMs;
  for (;;) {
    if (await condition()) return;
    check(performance.now() < deadline, `${awaited}: not within ${timeoutMs / 1000} s`);
    await sleep(50, undefined, { signal });
  }
}
