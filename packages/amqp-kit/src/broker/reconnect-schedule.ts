import { backoffMs } from "./backoff.ts";
import type { Endpoint } from "./url.ts";

/** A connection that lived shorter than this counts as one more failure, so that a broker that closes each connection is not hammered. */
const stableAfterMs = 10_000;

/** Decides which endpoint is dialled next, and after which pause. A round is one dial of each endpoint, in a random order. */
export class ReconnectSchedule {
  readonly #endpoints: readonly Endpoint[];
  #dials = 0;
  #failures = 0;
  #outageSince = performance.now();

  constructor(endpoints: readonly Endpoint[]) {
    this.#endpoints = shuffled(endpoints);
  }

  nextEndpoint(): Endpoint {
    return this.#endpoints[this.#dials++ % this.#endpoints.length]!;
  }

  /** Each endpoint of this round was dialled. */
  get isRoundDone(): boolean {
    return this.#dials % this.#endpoints.length === 0;
  }

  /** Counts a failed dial. @returns the pause in milliseconds; there is none before each endpoint was dialled */
  dialFailed(): number {
    return this.isRoundDone ? Math.round(this.#nextBackoffMs()) : 0;
  }

  /**
   * Counts a lost connection. @returns the pause in milliseconds, and whether another connection may end it: not after repeated losses,
   * since two connections that are lost as soon as they are open would wake each other for ever
   */
  connectionLost(livedMs: number): { delayMs: number; canBeWoken: boolean } {
    if (livedMs > stableAfterMs) {
      this.#failures = 0;
      this.#outageSince = performance.now();
    }
    const canBeWoken = this.#failures === 0;
    return { delayMs: this.#nextBackoffMs(), canBeWoken };
  }

  #nextBackoffMs(): number {
    return backoffMs(this.#failures++, performance.now() - this.#outageSince);
  }
}

/** Sorts by random keys, because sorting with a random comparison prefers some orders. */
function shuffled<T>(list: readonly T[]): T[] {
  return list
    .map((one) => ({ one, key: Math.random() }))
    .toSorted((left, right) => left.key - right.key)
    .map(({ one }) => one);
}
