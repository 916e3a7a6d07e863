/**
 * When did a message arrive? What a stalled or frozen process finds in its socket has waited there, at most since the event loop last
 * turned. Knows no idiom.
 */

const tickMs = 20;
const stallMs = 100;
/** From here on a stall is worth a line in the log: heartbeats wait, too. */
const loggedStallMs = 1_000;

export class ArrivalClock {
  #lastTick = performance.now();
  #stalledAt = 0;
  #stallEndedAt = -Infinity;
  readonly #timer: NodeJS.Timeout;

  /** @param onStall  told how long the event loop has stood still, a second or more */
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

  /** The earliest moment, by `performance.now()`, at which a message that is handed over now may have arrived. */
  arrivedAt(): number {
    const now = performance.now();
    if (now - this.#lastTick > stallMs) return this.#lastTick;
    return now - this.#stallEndedAt < stallMs ? this.#stalledAt : now;
  }

  stop(): void {
    clearInterval(this.#timer);
  }
}
