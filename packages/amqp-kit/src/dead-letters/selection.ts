import type { DeadLetter } from "./letter.ts";
import { UsageError } from "../errors.ts";
import { deadLetterReasons } from "../notify/dead-letter.ts";

/** The dead letters that the command line selects. */

const reasons: readonly string[] = deadLetterReasons;
const unitsMs = { s: 1_000, m: 60_000, h: 3_600_000, d: 86_400_000 };

export interface Criteria {
  id?: readonly string[] | undefined;
  reason?: readonly string[] | undefined;
  "older-than"?: string | undefined;
  "newer-than"?: string | undefined;
  limit?: string | undefined;
}

export class Selection {
  readonly #ids: readonly string[];
  readonly #reasons: readonly string[];
  readonly #before: number | undefined;
  readonly #after: number | undefined;
  readonly #limit: number;
  readonly #found = new Set<string | undefined>();
  #chosen = 0;

  /** @throws {UsageError} */
  constructor(criteria: Criteria) {
    this.#ids = criteria.id ?? [];
    this.#reasons = criteria.reason ?? [];
    const unknown = this.#reasons.find((reason) => !reasons.includes(reason));
    if (unknown !== undefined) throw new UsageError(`Unknown reason "${unknown}". Reasons: ${reasons.join(", ")}.`);
    this.#before = instant("--older-than", criteria["older-than"]);
    this.#after = instant("--newer-than", criteria["newer-than"]);
    this.#limit = criteria.limit === undefined ? Infinity : Number(criteria.limit);
    if (criteria.limit !== undefined && !/^[1-9]\d{0,8}$/.test(criteria.limit))
      throw new UsageError(`--limit must be a whole number from 1 to 999999999, not "${criteria.limit}".`);
  }

  get isAll(): boolean {
    const isTimeless = this.#before === undefined && this.#after === undefined;
    return this.#ids.length === 0 && this.#reasons.length === 0 && isTimeless && this.#limit === Infinity;
  }

  /** Returns the selected letters, up to the limit. Counts them: pass each letter once, in the order of the queue. */
  readonly choose = (letters: readonly DeadLetter[]): DeadLetter[] => {
    const chosen = letters.filter((letter) => this.#matches(letter)).slice(0, this.#limit - this.#chosen);
    for (const { messageId } of chosen) this.#found.add(messageId);
    this.#chosen += chosen.length;
    return chosen;
  };

  /** Ages are by this machine's clock. A letter without a time is neither older nor newer than anything. */
  #matches({ messageId, reason, deadLetteredAt }: DeadLetter): boolean {
    if (this.#ids.length > 0 && (messageId === undefined || !this.#ids.includes(messageId))) return false;
    if (this.#reasons.length > 0 && (reason === undefined || !this.#reasons.includes(reason))) return false;
    const at = deadLetteredAt?.getTime();
    if (this.#before !== undefined && !(at !== undefined && at < this.#before)) return false;
    return this.#after === undefined || (at !== undefined && at > this.#after);
  }

  /** @throws Error naming the ids that no message has */
  checkFound(): void {
    const missing = this.#ids.filter((id) => !this.#found.has(id));
    if (missing.length > 0 && this.#chosen < this.#limit)
      throw new Error(`No message found with the id ${missing.join(", ")}.`);
  }
}

function instant(option: string, age: string | undefined): number | undefined {
  if (age === undefined) return undefined;
  const [, amount, unit] = /^(\d{1,6})([smhd])$/.exec(age) ?? [];
  if (amount === undefined || !isUnit(unit))
    throw new UsageError(`${option} must be an age such as 90s, 15m, 6h or 2d, not "${age}".`);
  return Date.now() - Number(amount) * unitsMs[unit];
}

function isUnit(unit: string | undefined): unit is keyof typeof unitsMs {
  return unit !== undefined && Object.hasOwn(unitsMs, unit);
}
