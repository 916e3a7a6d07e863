import type { DeadLetter } from "./dead-letters.ts";
import { UsageError } from "../errors.ts";
import { deadLetterReasons } from "../notify/dead-letter.ts";

/** Which dead letters are meant, as the command line says it. */

const reasons: readonly string[] = deadLetterReasons;
const unitsMs = { s: 1_000, m: 60_000, h: 3_600_000, d: 86_400_000 };

export interface Wishes {
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
  constructor(wishes: Wishes) {
    this.#ids = wishes.id ?? [];
    this.#reasons = wishes.reason ?? [];
    const unknown = this.#reasons.find((reason) => !reasons.includes(reason));
    if (unknown !== undefined)
      throw new UsageError(`There is no reason "${unknown}". There are ${reasons.join(", ")}.`);
    this.#before = instant("--older-than", wishes["older-than"]);
    this.#after = instant("--newer-than", wishes["newer-than"]);
    this.#limit = wishes.limit === undefined ? Infinity : Number(wishes.limit);
    if (wishes.limit !== undefined && !/^[1-9]\d{0,8}$/.test(wishes.limit))
      throw new UsageError(`--limit takes a whole number from 1 on, not "${wishes.limit}".`);
  }

  get isAll(): boolean {
    const isTimeless = this.#before === undefined && this.#after === undefined;
    return this.#ids.length === 0 && this.#reasons.length === 0 && isTimeless && this.#limit === Infinity;
  }

  /** To be asked once about each: it counts. By this machine's clock; what bears no time is neither older nor newer than anything. */
  readonly isWanted = ({ messageId, reason, deadLetteredAt }: DeadLetter): boolean => {
    if (this.#chosen >= this.#limit) return false;
    if (this.#ids.length > 0 && (messageId === undefined || !this.#ids.includes(messageId))) return false;
    if (this.#reasons.length > 0 && (reason === undefined || !this.#reasons.includes(reason))) return false;
    if (this.#before !== undefined && !(deadLetteredAt !== undefined && deadLetteredAt.getTime() < this.#before))
      return false;
    if (this.#after !== undefined && !(deadLetteredAt !== undefined && deadLetteredAt.getTime() > this.#after))
      return false;
    this.#found.add(messageId);
    this.#chosen += 1;
    return true;
  };

  /** @throws Error naming the ids that no message bore */
  checkFound(): void {
    const missing = this.#ids.filter((id) => !this.#found.has(id));
    if (missing.length > 0 && this.#chosen < this.#limit)
      throw new Error(`No message was found with the id ${missing.join(", ")}.`);
  }
}

function instant(option: string, age: string | undefined): number | undefined {
  if (age === undefined) return undefined;
  const [, amount, unit] = /^(\d{1,6})([smhd])$/.exec(age) ?? [];
  if (amount === undefined || !isUnit(unit))
    throw new UsageError(`${option} takes an age such as 90s, 15m, 6h or 2d, not "${age}".`);
  return Date.now() - Number(amount) * unitsMs[unit];
}

function isUnit(unit: string | undefined): unit is keyof typeof unitsMs {
  return unit !== undefined && Object.hasOwn(unitsMs, unit);
}
