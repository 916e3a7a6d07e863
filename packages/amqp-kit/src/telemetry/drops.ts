import { emit } from "./events.ts";
import type { DropReason } from "./events.ts";
import type { Logger } from "./log.ts";

const quietMs = 10_000;

interface Unlogged {
  count: number;
  /** Runs while it is quiet: what was dropped meanwhile is logged at its end. */
  quiet: NodeJS.Timeout | undefined;
}

/** Counts what is dropped, and logs the first of each kind at once and the others summed up, at most every ten seconds. */
export class Drops {
  readonly #contract: string;
  readonly #logger: Logger;
  readonly #unlogged = new Map<DropReason, Unlogged>();

  constructor(contract: string, logger: Logger) {
    this.#contract = contract;
    this.#logger = logger;
  }

  count(reason: DropReason, count = 1): void {
    if (count === 0) return;
    emit("dropped", { contract: this.#contract, reason, count });
    const unlogged = this.#unlogged.get(reason) ?? { count: 0, quiet: undefined };
    this.#unlogged.set(reason, unlogged);
    unlogged.count += count;
    if (unlogged.quiet === undefined) this.#log(reason, unlogged);
  }

  /** Logs what has not been logged yet. */
  close(): void {
    for (const [reason, unlogged] of this.#unlogged) {
      if (unlogged.count > 0) this.#log(reason, unlogged);
      clearTimeout(unlogged.quiet);
    }
  }

  #log(reason: DropReason, unlogged: Unlogged): void {
    this.#logger.warn({ contract: this.#contract, reason, count: unlogged.count }, "messages dropped");
    unlogged.count = 0;
    clearTimeout(unlogged.quiet);
    unlogged.quiet = setTimeout(() => {
      unlogged.quiet = undefined;
      if (unlogged.count > 0) this.#log(reason, unlogged);
    }, quietMs).unref();
  }
}
