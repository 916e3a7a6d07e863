import { expect, test } from "vitest";
import { faults, faultsNamed } from "../../src/faults/index.ts";
import { Random } from "../../src/random.ts";
import { type Planned, schedule } from "../../src/schedule.ts";

function first(count: number, seed: number): Planned[] {
  const planned = schedule(faults, new Random(seed));
  return Array.from({ length: count }, () => planned.next().value);
}

test("the same seed gives the same faults in the same order at the same pauses, another seed another order", () => {
  expect(first(60, 1)).toEqual(first(60, 1));
  expect(first(60, 2)).not.toEqual(first(60, 1));
});

test("each kind comes once before any comes twice", () => {
  const round = first(faults.length, 3).map(({ fault }) => fault.name);
  expect(round.toSorted()).toEqual(faults.map(({ name }) => name).toSorted());
});

test("without faults the schedule is empty", () => {
  expect(schedule([], new Random(1)).next()).toEqual({ done: true, value: undefined });
});

test("a fault that there is none of is an error that names those there are", () => {
  expect(() => faultsNamed("broker-killed,no-such")).toThrow(
    /There is no fault "no-such". There are: broker-stopped, /,
  );
  expect(faultsNamed("")).toEqual([]);
});
