import { setTimeout as sleep } from "node:timers/promises";
import type { Consumer } from "../broker/consumer.ts";
import { Deadline } from "../broker/deadline.ts";

/**
 * Pauses a consumer while something that its handler needs, such as a database, is unavailable. Without the pause, each message would use up its attempts.
 */

const firstPauseMs = 500;
const maxPauseMs = 30_000;

/** A tenth of the outage's duration so far, from 500 ms to 30 s: the end of the outage is noticed at most that much later. */
export function pauseMs(outageMs: number): number {
  return Math.min(maxPauseMs, Math.max(firstPauseMs, outageMs / 10));
}

export interface AvailabilityOptions {
  isAvailable: () => Promise<boolean>;
  consumer: Consumer;
  /** Aborting this signal ends the pause. */
  signal: AbortSignal;
  onPaused: () => void;
  onResumed: (pausedMs: number) => void;
  /** No answer of `isAvailable` within this time means unavailable. */
  answerTimeoutMs: number;
}

export class Availability {
  readonly #options: AvailabilityOptions;
  #asking: Promise<boolean> | undefined;
  #pausing: Promise<void> | undefined;
  #lastPauseEndedAt = -Infinity;

  constructor(options: AvailabilityOptions) {
    this.#options = options;
  }

  get isPaused(): boolean {
    return this.#pausing !== undefined;
  }

  /**
   * Whether a handler failed because what it needs is unavailable.
   * @param begunAt  when the handler began, by `performance.now()`: one that began before a pause ended may have met its outage
   */
  async isOutage(begunAt: number): Promise<boolean> {
    return begunAt < this.#lastPauseEndedAt || this.isPaused || !(await this.#ask());
  }

  /** Resolves once the consumer is held; it resumes by itself. Does nothing if the outage that the handler met is over. */
  async pause(begunAt: number): Promise<void> {
    if (begunAt < this.#lastPauseEndedAt || this.#options.signal.aborted) return;
    await (this.#pausing ??= this.#holdUntilAvailable());
  }

  async #holdUntilAvailable(): Promise<void> {
    const startedAt = performance.now();
    this.#options.onPaused();
    const resume = await this.#options.consumer.hold();
    void this.#untilAvailable(startedAt).then(() => this.#end(startedAt, resume));
  }

  async #untilAvailable(startedAt: number): Promise<void> {
    const { signal } = this.#options;
    do {
      await sleep(pauseMs(performance.now() - startedAt), undefined, { signal }).catch(() => undefined);
    } while (!signal.aborted && !(await this.#ask()));
  }

  #end(startedAt: number, resume: () => void): void {
    this.#lastPauseEndedAt = performance.now();
    this.#pausing = undefined;
    resume();
    if (!this.#options.signal.aborted) this.#options.onResumed(Math.round(this.#lastPauseEndedAt - startedAt));
  }

  /** Calls `isAvailable`, never twice concurrently. Resolves with false if it rejects or does not answer in time. */
  #ask(): Promise<boolean> {
    this.#asking ??= this.#askNow().finally(() => (this.#asking = undefined));
    return this.#asking;
  }

  async #askNow(): Promise<boolean> {
    const { isAvailable, answerTimeoutMs } = this.#options;
    try {
      // Plain JavaScript may return a value, or throw, synchronously.
      const ask = async (): Promise<boolean> => isAvailable();
      return await new Deadline(answerTimeoutMs).race(ask(), () => new Error("no answer in time"));
    } catch {
      return false;
    }
  }
}
