import { setTimeout as sleep } from "node:timers/promises";

export type HealthStatus = "starting" | "ready" | "not ready" | "stopping";

/** The state that `/readyz` reports. */
export class Health {
  #isReady: (() => boolean | Promise<boolean>) | undefined;
  #isStopping = false;
  readonly #timeLimitMs = 1_000;

  /** @param isReady  called for each status. An error, or no result within a second, counts as false */
  started(isReady: () => boolean | Promise<boolean>): void {
    this.#isReady = isReady;
  }

  stopping(): void {
    this.#isStopping = true;
  }

  async status(): Promise<HealthStatus> {
    if (this.#isStopping) return "stopping";
    if (this.#isReady === undefined) return "starting";
    return (await this.#withTimeout(this.#isReady)) ? "ready" : "not ready";
  }

  async #withTimeout(isReady: () => boolean | Promise<boolean>): Promise<boolean> {
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
