import { type Answer, bookedPatients, countedRegistrations, type Person, waitUntil } from "../clients.ts";
import { check } from "../report.ts";
import type { Services } from "./demo.ts";

/**
 * Waits until scheduling and reporting know each patient, and checks that both know each exactly once.
 * @param countedBefore  the number of registrations in reporting before these patients were added
 */
export async function checkBookedAndCounted(
  patientIds: readonly string[],
  countedBefore: number,
  { scheduling, reporting }: Services,
  signal: AbortSignal,
): Promise<Record<string, unknown[]>> {
  const booked = async (): Promise<string[]> =>
    (await bookedPatients(scheduling.url, signal)).filter((patientId) => patientIds.includes(patientId));
  const counted = async (): Promise<number> => (await countedRegistrations(reporting.url, signal)) - countedBefore;
  const { length } = patientIds;
  await waitUntil("scheduling books every patient", signal, async () => new Set(await booked()).size === length);
  await waitUntil("reporting counts every patient", signal, async () => (await counted()) >= length);
  const appointments = await booked();
  const count = await counted();
  check(appointments.length === length, `${length} patients have ${appointments.length} appointments`);
  check(count === length, `${length} patients were counted as ${count}`);
  return { scheduling: appointments, reporting: [{ counted: count }] };
}

/** The id of the patient that the last answer accepted. */
export function patientIdOf(answers: readonly Answer[]): string {
  const patientId = answers.at(-1)?.patientId;
  check(patientId !== undefined, "a patient was not accepted");
  return patientId ?? "";
}

export function personNamed(name: string): Person {
  const [given = "", surname = ""] = name.split(" ");
  return { given, surname };
}
