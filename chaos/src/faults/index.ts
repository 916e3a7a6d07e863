import { brokerFaults } from "./broker.ts";
import { databaseFaults } from "./database.ts";
import type { Fault } from "./fault.ts";
import { networkFaults } from "./network.ts";
import { queueFaults } from "./queues.ts";
import { serviceFaults } from "./services.ts";

/** Every fault that can be injected. */
export const faults: readonly Fault[] = [
  ...brokerFaults,
  ...networkFaults,
  ...queueFaults,
  ...serviceFaults,
  ...databaseFaults,
];

/** @param names  comma-separated; undefined selects all @throws Error that lists the known faults */
export function faultsNamed(names: string | undefined): Fault[] {
  if (names === undefined) return [...faults];
  return names
    .split(",")
    .filter(Boolean)
    .map((name) => {
      const fault = faults.find((known) => known.name === name);
      if (fault === undefined)
        throw new Error(`Unknown fault "${name}". Known faults: ${faults.map((known) => known.name).join(", ")}`);
      return fault;
    });
}
