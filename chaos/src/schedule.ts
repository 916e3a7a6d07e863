import type { Fault } from "./faults/fault.ts";
import type { Random } from "./random.ts";

export interface Planned {
  readonly fault: Fault;
  /** From the moment at which the fault before was healed */
  readonly afterMs: number;
  /** For what the fault itself leaves to chance */
  readonly seed: number;
}

/** What every listener must see of the updates is sent from 5 s after the healing to the next fault, and what must not be refused from 10 s on. */
const leastPeaceMs = 12_000;
const mostPeaceMs = 15_000;

/** An endless schedule: each kind once in a random order, then again in another. */
export function* schedule(faults: readonly Fault[], random: Random): Generator<Planned> {
  while (faults.length > 0) {
    for (const fault of random.shuffled(faults)) yield planned(fault, random);
  }
}

/** Each once, in the order given. */
export function* inOrder(faults: readonly Fault[], random: Random): Generator<Planned> {
  for (const fault of faults) yield planned(fault, random);
}

function planned(fault: Fault, random: Random): Planned {
  return { fault, afterMs: random.integer(leastPeaceMs, mostPeaceMs), seed: random.integer(0, 2 ** 32 - 1) };
}
