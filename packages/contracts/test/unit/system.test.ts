import { expect, test } from "vitest";
import { addPatient, getPatient, patientAdded, scoreUpdates, system } from "../../src/index.ts";

test("Every message has senders and receivers", () => {
  const roles = Object.values<Partial<Record<string, readonly object[]>>>(system);
  const all = (role: string): Set<object> => new Set(roles.flatMap((of) => of[role] ?? []));
  expect(all("broadcasts")).toEqual(all("listens"));
  expect(all("notifies")).toEqual(all("subscribes"));
  expect(all("requests")).toEqual(all("responds"));
  expect(all("broadcasts")).toEqual(new Set([scoreUpdates]));
  expect(all("notifies")).toEqual(new Set([patientAdded]));
  expect(all("requests")).toEqual(new Set([addPatient, getPatient]));
});

test("scheduling and reporting subscribe to new patients, so that their queues exist before their first run", () => {
  const subscribers = Object.entries(system).filter(([, roles]) => "subscribes" in roles);
  expect(subscribers.map(([service]) => service)).toEqual(["scheduling", "reporting"]);
});
