import { emit } from "./events.ts";
import type { DropReason } from "./events.ts";
import type { Logger } from "./log.ts";

const quietMs = 10_000;

interface Unlogged {
  count: number;
  /** Runs for `quietMs` after a log line. The messages dropped meanwhile are logged at its end. */
  quiet: NodeJS.Timeout | undefined;
}

/** Counts dropped messages. Logs the first of each reason immediately, and the others summed up, at most every `quietMs`. */
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

  /** Logs the counts that are not logged yet. */
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
