import { setTimeout as sleep } from "node:timers/promises";
import type { Consumer } from "../broker/consumer.ts";
import { Deadline } from "../broker/deadline.ts";

/**
 * Whether what a handler needs is there, a database for instance. While it is not, a consumer takes no messages: each would only use up
 * its attempts. Knows no idiom.
 */

const answerTimeoutMs = 5_000;
const firstPauseMs = 500;
const maxPauseMs = 30_000;

/** A tenth of the time that it has been away: so much later than it comes back, at most, is it noticed. */
export function pauseMs(awayMs: number): number {
  return Math.min(maxPauseMs, Math.max(firstPauseMs, awayMs / 10));
}

export interface AvailabilityOptions {
  isAvailable: () => Promise<boolean>;
  consumer: Consumer;
  /** Ends the pause. */
  signal: AbortSignal;
  onPaused: () => void;
  onResumed: (pausedMs: number) => void;
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
    await (this.#pausing ??= this.#pause());
  }

  async #pause(): Promise<void> {
    const { consumer, signal, onPaused, onResumed } = this.#options;
    const since = performance.now();
    onPaused();
    const resume = await consumer.hold();
    const untilBack = async (): Promise<void> => {
      do {
        await sleep(pauseMs(performance.now() - since), undefined, { signal }).catch(() => undefined);
      } while (!signal.aborted && !(await this.#ask()));
      this.#lastPauseEndedAt = performance.now();
      this.#pausing = undefined;
      resume();
      if (!signal.aborted) onResumed(Math.round(this.#lastPauseEndedAt - since));
    };
    void untilBack();
  }

  /** One question at a time. No answer in time, and a rejection, mean no. */
  #ask(): Promise<boolean> {
    this.#asking ??= this.#askNow().finally(() => (this.#asking = undefined));
    return this.#asking;
  }

  async #askNow(): Promise<boolean> {
    try {
      // In plain JavaScript it may answer, or throw, at once
      const ask = async (): Promise<boolean> => this.#options.isAvailable();
      return await new Deadline(answerTimeoutMs).race(ask(), () => new Error("late"));
    } catch {
      return false;
    }
  }
}
