/** The longest delay of a timer in Node.js. A longer one would fire immediately. */
export const maxTimerMs = 2 ** 31 - 1;

/** A time limit that starts with the call, combined with the caller's abort signal. */
export class Deadline {
  readonly timeoutMs: number;
  readonly #at: number;
  readonly #signal: AbortSignal | undefined;

  constructor(timeoutMs: number, signal?: AbortSignal) {
    this.timeoutMs = timeoutMs;
    this.#at = performance.now() + timeoutMs;
    this.#signal = signal;
    signal?.throwIfAborted();
  }

  get remainingMs(): number {
    return Math.max(0, this.#at - performance.now());
  }

  /** The limit has passed, or the caller no longer waits. */
  get isOver(): boolean {
    return this.remainingMs === 0 || this.#signal?.aborted === true;
  }

  /**
   * Waits for `work`, no longer than the limit.
   * @throws what `work` rejects with; `expired()` at the limit; the signal's reason when it aborts
   */
  race<T>(work: Promise<T>, expired: () => Error): Promise<T> {
    return new Promise((resolve, reject) => {
      const signal = this.#signal;
      const settle = (): void => {
        clearTimeout(timer);
        signal?.removeEventListener("abort", onAbort);
      };
      const onAbort = (): void => {
        settle();
        reject(signal?.reason);
      };
      const timer = setTimeout(
        () => {
          settle();
          reject(expired());
        },
        Math.min(this.remainingMs, maxTimerMs),
      );
      signal?.addEventListener("abort", onAbort);
      if (signal?.aborted === true) onAbort();
      work.then(
        (value) => {
          settle();
          resolve(value);
        },
        (error: unknown) => {
          settle();
          reject(error);
        },
      );
    });
  }
}

/**
 * Lets many callers wait for one event, each within its own time limit. One shared promise would leak: until it settles it keeps every caller
 * that has waited for it, even those that gave up, which in an outage is every call of that time.
 */
export class Gate<T = void> {
  readonly #waiting = new Set<PromiseWithResolvers<T>>();

  /** Waits until the gate opens. @throws the error that it fails with; what `deadline.race` throws */
  async pass(deadline: Deadline, expired: () => Error): Promise<T> {
    const waiter = Promise.withResolvers<T>();
    this.#waiting.add(waiter);
    try {
      return await deadline.race(waiter.promise, expired);
    } finally {
      this.#waiting.delete(waiter);
    }
  }

  /** Resolves for the callers that wait now. */
  open(value: T): void {
    for (const { resolve } of this.#waiting) resolve(value);
  }

  fail(error: unknown): void {
    for (const { reject } of this.#waiting) reject(error);
  }
}
