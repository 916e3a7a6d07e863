/** What Node's timers can wait: a longer one would fire at once. */
export const maxTimerMs = 2 ** 31 - 1;

/** A time limit that counts from the call, together with the caller's own wish to stop. */
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
