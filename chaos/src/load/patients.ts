import { randomUUID } from "node:crypto";
import { setTimeout as sleep } from "node:timers/promises";
import { z } from "zod";
import { monotonicMs, within } from "../clock.ts";
import { get, send } from "../http.ts";
import {
  acceptedPatientId,
  type HttpRequest,
  type Attempt,
  type Ledger,
  person,
  type Registration,
} from "../ledger.ts";
import type { Random } from "../random.ts";

/** Adds patients over HTTP as a careful client does: it repeats a request under the same key until it is accepted. */

const patientEveryMs = 200;
const attemptTimeoutMs = 12_000;
/** Share of the accepted patients */
const repeated = 0.1;
const reused = 0.03;
const lookedUp = 0.2;
/** Share of the clients that give up after a failure */
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

  /** Starts no new registrations. Those in progress continue. */
  pause(): void {
    clearInterval(this.#timer);
    this.#timer = undefined;
  }

  /** Waits until no registration is in progress. @returns false after the timeout */
  async idle(timeoutMs: number): Promise<boolean> {
    return within(timeoutMs, () => this.#working.size === 0);
  }

  /** Waits until each registration is accepted or given up. @returns false if the timeout made the rest give up */
  async finish(timeoutMs: number): Promise<boolean> {
    this.pause();
    const isDone = await this.idle(timeoutMs);
    this.#isEnding = !isDone;
    await Promise.all(this.#working);
    return isDone;
  }

  /** Repeats each registration that was never accepted, under its key. @returns these registrations with the new attempt */
  async repeatUnanswered(): Promise<{ registration: Registration; attempt: Attempt }[]> {
    const open = this.#ledger.registrations.filter((registration) => acceptedPatientId(registration) === undefined);
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
    while (acceptedPatientId(registration) === undefined && !registration.isGivenUp) {
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

  /** Another person under the same key must be refused; a failed request is possible, an accepted one is not. */
  async #reuseKey({ key, surname }: Registration): Promise<void> {
    const { status } = await this.#post({ surname: `Not-${surname}`, key, attempts: [], isGivenUp: false });
    if (status < 400 && status > 0)
      this.#ledger.wrongPatients.push(`another person was accepted under the key of ${surname}: ${status}`);
  }

  async #lookUp(registration: Registration): Promise<void> {
    const patientId = acceptedPatientId(registration);
    const { surname } = registration;
    const at = monotonicMs();
    const end = (status: number, code: string): HttpRequest => ({ at, endedAt: monotonicMs(), status, code });
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
  return error instanceof Error && "code" in error ? String(error.code) : "no response";
}
