/**
 * Estimates when a message arrived in this process. Messages that a stalled or frozen process finds in its socket have waited there,
 * at most since the last turn of the event loop.
 */

const tickMs = 20;
const stallMs = 100;
/** A stall this long is logged: it delays heartbeats. */
const loggedStallMs = 1_000;

export class ArrivalClock {
  #lastTick = performance.now();
  #stalledAt = 0;
  #stallEndedAt = -Infinity;
  readonly #timer: NodeJS.Timeout;

  /** @param onStall  called after each stall of a second or more, with its duration */
  constructor(onStall: (stalledMs: number) => void) {
    this.#timer = setInterval(() => {
      const now = performance.now();
      if (now - this.#lastTick > stallMs) {
        this.#stalledAt = this.#lastTick;
        this.#stallEndedAt = now;
      }
      if (now - this.#lastTick >= loggedStallMs) onStall(Math.round(now - this.#lastTick));
      this.#lastTick = now;
    }, tickMs).unref();
  }

  /** The earliest time, by `performance.now()`, at which a message that is delivered now may have arrived. */
  arrivedAt(): number {
    const now = performance.now();
    if (now - this.#lastTick > stallMs) return this.#lastTick;
    return now - this.#stallEndedAt < stallMs ? this.#stalledAt : now;
  }

  stop(): void {
    clearInterval(this.#timer);
  }
}
