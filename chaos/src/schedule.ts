import type { Fault } from "./faults/fault.ts";
import type { Random } from "./random.ts";

export interface Planned {
  readonly fault: Fault;
  /** From the end of the previous fault */
  readonly afterMs: number;
  /** Seed of the fault's own random choices */
  readonly seed: number;
}

/** Updates that every listener must receive are sent from 5 s after a fault to the next one, and requests that must not fail from 10 s on. */
const leastPeaceMs = 12_000;
const mostPeaceMs = 15_000;

/** An endless schedule: each fault once in random order, then again in another order. */
export function* schedule(faults: readonly Fault[], random: Random): Generator<Planned> {
  while (faults.length > 0) {
    for (const fault of random.shuffled(faults)) yield planned(fault, random);
  }
}

/** Each fault once, in the given order. */
export function* inOrder(faults: readonly Fault[], random: Random): Generator<Planned> {
  for (const fault of faults) yield planned(fault, random);
}

function planned(fault: Fault, random: Random): Planned {
  return { fault, afterMs: random.integer(leastPeaceMs, mostPeaceMs), seed: random.integer(0, 2 ** 32 - 1) };
}
