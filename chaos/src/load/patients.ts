import { randomUUID } from "node:crypto";
import { setTimeout as sleep } from "node:timers/promises";
import { z } from "zod";
import { monotonicMs, within } from "../clock.ts";
import { get, send } from "../http.ts";
import { acceptedAs, type Asked, type Attempt, type Ledger, person, type Registration } from "../ledger.ts";
import type { Random } from "../random.ts";

/** Patients over HTTP, as a careful client adds them: the same key until it is accepted. */

const patientEveryMs = 200;
const attemptTimeoutMs = 12_000;
/** Of those that are accepted */
const repeated = 0.1;
const reused = 0.03;
const lookedUp = 0.2;
/** Of those that fail at first: a careless client */
const givenUp = 0.05;

const Answer = z.object({ patientId: z.string().optional(), code: z.string().optional() });

export class Patients {
  readonly #url: string;
  readonly #ledger: Ledger;
  readonly #random: Random;
  readonly #working = new Set<Promise<void>>();
  #timer: NodeJS.Timeout | undefined;
  #isEnding = false;

  constructor(url: string, ledger: Ledger, random: Random) {
    this.#url = url;
    this.#ledger = ledger;
    this.#random = random;
  }

  start(): void {
    this.#timer ??= setInterval(() => {
      const work = this.#register().finally(() => this.#working.delete(work));
      this.#working.add(work);
    }, patientEveryMs);
  }

  /** No new ones; those at work go on. */
  pause(): void {
    clearInterval(this.#timer);
    this.#timer = undefined;
  }

  /** Until nobody is at work. @returns false when somebody still is after the time */
  async idle(timeoutMs: number): Promise<boolean> {
    return within(timeoutMs, () => this.#working.size === 0);
  }

  /** Until each is accepted or given up. @returns false when some were not within the time: they are given up then */
  async finish(timeoutMs: number): Promise<boolean> {
    this.pause();
    const isDone = await this.idle(timeoutMs);
    this.#isEnding = !isDone;
    await Promise.all(this.#working);
    return isDone;
  }

  /** What careless clients left open, asked once more under their keys. @returns those that had to be, with what they got now */
  async askAgain(): Promise<{ registration: Registration; attempt: Attempt }[]> {
    const open = this.#ledger.registrations.filter((registration) => acceptedAs(registration) === undefined);
    const again: { registration: Registration; attempt: Attempt }[] = [];
    for (const registration of open) again.push({ registration, attempt: await this.#post(registration) });
    return again;
  }

  async #register(): Promise<void> {
    const number = this.#ledger.registrations.length + 1;
    const registration: Registration = {
      surname: `Patient-${number}`,
      key: randomUUID(),
      attempts: [],
      isGivenUp: false,
    };
    this.#ledger.registrations.push(registration);
    const { isCareless, isRepeated, isReused, isLookedUp } = {
      isCareless: this.#random.chance(givenUp),
      isRepeated: this.#random.chance(repeated),
      isReused: this.#random.chance(reused),
      isLookedUp: this.#random.chance(lookedUp),
    };
    while (acceptedAs(registration) === undefined && !registration.isGivenUp) {
      const attempt = await this.#post(registration);
      registration.attempts.push(attempt);
      if (attempt.status === 201) break;
      registration.isGivenUp = isCareless || this.#isEnding;
      await sleep(200 + 600 * Math.random());
    }
    if (registration.isGivenUp || this.#isEnding) return;
    if (isRepeated) registration.attempts.push(await this.#post(registration));
    if (isReused) await this.#reuseKey(registration);
    if (isLookedUp) await this.#lookUp(registration);
  }

  async #post({ surname, key }: Registration): Promise<Attempt> {
    const at = monotonicMs();
    const end = (status: number, code: string, patientId?: string): Attempt => {
      return { at, endedAt: monotonicMs(), status, code, patientId };
    };
    try {
      const { status, body } = await send(`${this.#url}/patients`, {
        method: "POST",
        headers: { "content-type": "application/json", "idempotency-key": `"${key}"` },
        body: JSON.stringify({ ...person, surname }),
        timeoutMs: attemptTimeoutMs,
      });
      const { patientId, code = "" } = Answer.parse(JSON.parse(body));
      return end(status, code, patientId);
    } catch (error) {
      return end(0, failureOf(error));
    }
  }

  /** Another person under the same key is refused, or nobody answers now; never is it taken. */
  async #reuseKey({ key, surname }: Registration): Promise<void> {
    const { status } = await this.#post({ surname: `Not-${surname}`, key, attempts: [], isGivenUp: false });
    if (status < 400 && status > 0)
      this.#ledger.wrongPatients.push(`the key of ${surname} took another person: ${status}`);
  }

  async #lookUp(registration: Registration): Promise<void> {
    const patientId = acceptedAs(registration);
    const { surname } = registration;
    const at = monotonicMs();
    const end = (status: number, code: string): Asked => ({ at, endedAt: monotonicMs(), status, code });
    try {
      const { status, body } = await get(`${this.#url}/patients/${patientId}`, attemptTimeoutMs);
      this.#ledger.lookups.push({ surname, ...end(status, Answer.parse(JSON.parse(body)).code ?? "") });
      const isThis = status >= 500 || (status === 200 && body.includes(surname));
      if (!isThis) this.#ledger.wrongPatients.push(`GET of ${patientId} (${surname}) was answered ${status}`);
    } catch (error) {
      this.#ledger.lookups.push({ surname, ...end(0, failureOf(error)) });
    }
  }
}

function failureOf(error: unknown): string {
  return error instanceof Error && "code" in error ? String(error.code) : "no answer";
}
