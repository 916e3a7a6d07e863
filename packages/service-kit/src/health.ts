import { setTimeout as sleep } from "node:timers/promises";

/** What `/readyz` says: whether it is worth sending somebody here. `/livez` says only that the event loop turns. */

export type HealthStatus = "starting" | "ready" | "not ready" | "stopping";

export class Health {
  #isReady: (() => boolean | Promise<boolean>) | undefined;
  #isStopping = false;
  readonly #timeLimitMs = 1_000;

  /** @param isReady  asked each time; an answer that is late or an error counts as no */
  started(isReady: () => boolean | Promise<boolean>): void {
    this.#isReady = isReady;
  }

  stopping(): void {
    this.#isStopping = true;
  }

  async status(): Promise<HealthStatus> {
    if (this.#isStopping) return "stopping";
    if (this.#isReady === undefined) return "starting";
    return (await this.#ask(this.#isReady)) ? "ready" : "not ready";
  }

  async #ask(isReady: () => boolean | Promise<boolean>): Promise<boolean> {
    const answered = new AbortController();
    const late = sleep(this.#timeLimitMs, false, { signal: answered.signal, ref: false }).catch(() => false);
    try {
      return await Promise.race([isReady(), late]);
    } catch {
      return false;
    } finally {
      answered.abort();
    }
  }
}
