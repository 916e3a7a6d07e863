import type { ScoreUpdate } from "@amqp-idioms/contracts";

/** An update and its number, counted from 1 in the order of arrival. */
export interface Shown {
  readonly id: number;
  readonly update: ScoreUpdate;
}

/**
 * The newest update of each match. "Newest" is the last arrival, since senders' clocks are not compared. When there are too many
 * matches, the one with the oldest update is removed.
 */
export class Scoreboard {
  readonly #maxMatches: number;
  /** By match, in the order of arrival. */
  readonly #newest = new Map<string, Shown>();
  readonly #listeners: ((shown: Shown) => void)[] = [];
  #lastId = 0;

  constructor(maxMatches = 1_000) {
    this.#maxMatches = maxMatches;
  }

  show(update: ScoreUpdate): void {
    const shown = { id: ++this.#lastId, update };
    this.#newest.delete(update.match);
    this.#newest.set(update.match, shown);
    const [oldest] = this.#newest.keys();
    if (this.#newest.size > this.#maxMatches && oldest !== undefined) this.#newest.delete(oldest);
    for (const listener of this.#listeners) listener(shown);
  }

  /** One update per match, the last arrival first. */
  newest(): ScoreUpdate[] {
    return [...this.#newest.values()].map(({ update }) => update).toReversed();
  }

  /** The newest update of each match after number `id`, in the order of arrival. */
  since(id: number): Shown[] {
    return [...this.#newest.values()].filter((shown) => shown.id > id);
  }

  get lastId(): number {
    return this.#lastId;
  }

  /** Calls `listener` for each further update. */
  onUpdate(listener: (shown: Shown) => void): void {
    this.#listeners.push(listener);
  }
}
