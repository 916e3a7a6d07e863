/** What the registry promises, on whichever database `stored` names. */
import { addPatient } from "@amqp-idioms/contracts";
import type { ServiceProcess } from "@amqp-idioms/local-servers";
import { AmqpKitError, OperationError } from "amqp-kit";
import { expect } from "vitest";
import { killAt, type Others, person } from "./running.ts";

type StartRegistry = (env: Readonly<Record<string, string>>) => Promise<ServiceProcess>;

/** Sends the same request and another one under one idempotency key. */
export async function useKeyTwice(others: Others): Promise<void> {
  const first = await others.add(person, "key-1");
  const samePerson = { birthDate: person.birthDate, surname: `${person.surname} `, given: person.given };
  await expect(others.add(samePerson, "key-1")).resolves.toEqual(first);
  const reused = await others.add({ ...person, given: "Zelda" }, "key-1").catch((error: unknown) => error);
  expect(OperationError.is(reused, addPatient, "idempotency_key_reused")).toBe(true);
  await expect(others.add(person, "key-1")).resolves.toEqual(first);

  const registered = [first, await others.add(person, "key-2"), await others.add(person)];
  const ids = registered.map(({ patientId }) => patientId);
  expect(new Set(ids).size).toBe(3);
  const notified = (await others.receivedBeforeMarker()).map(({ patient }) => patient);
  expect(notified.filter(({ patientId }) => ids.includes(patientId))).toHaveLength(3);
  expect(notified).toEqual(expect.arrayContaining(registered));
}

/** Stops the registry gracefully and starts it again. */
export async function restart(stored: Record<string, string>, start: StartRegistry, others: Others): Promise<void> {
  const before = await start(stored);
  expect((await fetch(`${before.url}/livez`)).status).toBe(200);
  expect((await fetch(`${before.url}/readyz`)).status).toBe(200);
  const patient = await others.add(person, "key-restart");
  expect(await before.stop()).toMatchObject({ code: 0, signal: null });
  await start(stored);
  await expect(others.get(patient.patientId)).resolves.toEqual(patient);
  await expect(others.add(person, "key-restart")).resolves.toEqual(patient);
}

/** The points at which a process can die between a request and the end of its notifications. */
export const points = [
  ["before anything is written", "amqp-kit:request-begun"],
  ["between commit and response, before the notification is sent", "outbox:committed"],
  ["after the broker has confirmed the notification, before it is marked as sent", "outbox:sent"],
] as const;

/** Kills the registry at a point of its first request, and starts it again. */
export async function killAtPoint(
  channel: string,
  { stored, start, others }: { stored: Readonly<Record<string, string>>; start: StartRegistry; others: Others },
): Promise<void> {
  const doomed = await start({ ...stored, NODE_OPTIONS: killAt, KILL_AT: channel });
  const asked = others.add(person, "key-1").catch((error: unknown) => error);
  expect(await doomed.exited).toMatchObject({ signal: "SIGKILL" });

  await start(stored);
  // The broker delivers the request to the next responder if one starts within the caller's time limit
  const answer = await asked;
  const patient = await others.add(person, "key-1");
  expect(answer instanceof AmqpKitError ? answer.retryable : answer).toEqual(
    answer instanceof AmqpKitError ? true : patient,
  );
  await expect(others.get(patient.patientId)).resolves.toEqual(patient);
  await expect(others.add({ ...person, given: "Zelda" }, "key-1")).rejects.toMatchObject({
    contract: addPatient.name,
    error: "idempotency_key_reused",
  });

  const notifications = await others.receivedBeforeMarker();
  expect(notifications.length).toBeGreaterThanOrEqual(1);
  expect(new Set(notifications.map((one) => JSON.stringify(one))).size, "distinct notifications").toBe(1);
  expect(notifications[0]).toEqual({ messageId: expect.any(String), patient });
}

/** Registers names in all scripts, the first and the last birth date, and none. */
export async function storeNames(others: Others): Promise<void> {
  for (const newPatient of [
    { given: "Þórdís Ölöf", surname: "O'Brien-ŁÓDŹ", birthDate: null },
    { given: "美咲 🌸", surname: "\"'); drop table patient; --", birthDate: "1904-02-29" },
    { given: "a".repeat(200), surname: "<script>alert(1)</script>", birthDate: "0001-01-01" },
    { given: "é".normalize("NFD"), surname: "\u200fעברית", birthDate: "9999-12-31" },
  ]) {
    const patient = await others.add(newPatient);
    expect(patient).toMatchObject(newPatient);
    expect(await others.get(patient.patientId)).toEqual(patient);
  }
}
