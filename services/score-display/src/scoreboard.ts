import type { ScoreUpdate } from "@amqp-idioms/contracts";

/** An update and its number, counted from 1 in the order of arrival. */
export interface Shown {
  readonly id: number;
  readonly update: ScoreUpdate;
}

/** The newest update of each match, by arrival: senders' clocks are not compared. The match longest without one goes when there are too many. */
export class Scoreboard {
  readonly #maxMatches: number;
  /** By match, the newest last. */
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

  /** One update per match, that of the last arrival first. */
  newest(): ScoreUpdate[] {
    return [...this.#newest.values()].map(({ update }) => update).toReversed();
  }

  /** What one who has seen number `id` does not know yet: the newest of each match since, in the order of arrival. */
  since(id: number): Shown[] {
    return [...this.#newest.values()].filter((shown) => shown.id > id);
  }

  get lastId(): number {
    return this.#lastId;
  }

  /** Calls back for each update from now on. */
  onUpdate(listener: (shown: Shown) => void): void {
    this.#listeners.push(listener);
  }
}
