import { brokerFaults } from "./broker.ts";
import { databaseFaults } from "./database.ts";
import type { Fault } from "./fault.ts";
import { networkFaults } from "./network.ts";
import { queueFaults } from "./queues.ts";
import { serviceFaults } from "./services.ts";

/** All that can be done to the system, by name. */
export const faults: readonly Fault[] = [
  ...brokerFaults,
  ...networkFaults,
  ...queueFaults,
  ...serviceFaults,
  ...databaseFaults,
];

/** @param names  comma-separated; undefined: all @throws Error that names those there are */
export function faultsNamed(names: string | undefined): Fault[] {
  if (names === undefined) return [...faults];
  return names
    .split(",")
    .filter(Boolean)
    .map((name) => {
      const fault = faults.find((known) => known.name === name);
      if (fault === undefined)
        throw new Error(`There is no fault "${name}". There are: ${faults.map((known) => known.name).join(", ")}`);
      return fault;
    });
}
