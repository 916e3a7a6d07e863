import { expect, test } from "vitest";
import { faults, faultsNamed } from "../../src/faults/index.ts";
import { Random } from "../../src/random.ts";
import { type Planned, schedule } from "../../src/schedule.ts";

function first(count: number, seed: number): Planned[] {
  const planned = schedule(faults, new Random(seed));
  return Array.from({ length: count }, () => planned.next().value);
}

test("The same seed gives the same faults in the same order with the same pauses; another seed gives another order", () => {
  expect(first(60, 1)).toEqual(first(60, 1));
  expect(first(60, 2)).not.toEqual(first(60, 1));
});

test("Every fault is injected once before any is injected twice", () => {
  const round = first(faults.length, 3).map(({ fault }) => fault.name);
  expect(round.toSorted()).toEqual(faults.map(({ name }) => name).toSorted());
});

test("Without faults the schedule is empty", () => {
  expect(schedule([], new Random(1)).next()).toEqual({ done: true, value: undefined });
});

test("An unknown fault is an error that lists the known ones", () => {
  expect(() => faultsNamed("broker-killed,no-such")).toThrow(
    /Unknown fault "no-such"\. Known faults: broker-stopped, /,
  );
  expect(faultsNamed("")).toEqual([]);
});
