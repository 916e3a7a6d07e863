import { addPatient, getPatient, system } from "@amqp-idioms/contracts";
import type { NewPatient, Patient, PatientRef } from "@amqp-idioms/contracts";
import { startProcess } from "@amqp-idioms/local-servers";
import type { ServiceProcess } from "@amqp-idioms/local-servers";
import { closeAll, test as base } from "@amqp-idioms/local-servers/vitest";
import { connect } from "amqp-kit";
import type { Delivery } from "amqp-kit";

const services = `${import.meta.dirname}/../../..`;

/** No log line has any of these words by chance. */
export const person = { given: "Zebedee", surname: "Quartermain", birthDate: "1990-02-28" };
export const patient: Patient = {
  patientId: "5a8b6a2e-7c67-4b21-9f5c-1d1f1cf7f6a0",
  ...person,
  registeredAt: "2026-03-01T09:30:00.123Z",
};

/**
 * `startService` starts a service's process as a user does. When the test is over, no line it wrote may hold a patient's name or the
 * broker's password.
 */
export const test = base.extend("startService", async ({ vhost }, { onCleanup }) => {
  const started: ServiceProcess[] = [];
  const secrets = [person.given, person.surname, new URL(vhost.url).password];
  onCleanup(async () => {
    await closeAll(started);
    const lines = started.flatMap((one) => one.lines.map(({ text }) => text));
    const telling = lines.filter((line) => secrets.some((secret) => line.includes(secret)));
    if (telling.length > 0) throw new Error(["Lines with what must not be logged:", ...telling].join("\n"));
  });
  return async (
    name: "add-patient-api" | "patient-registry",
    env: Readonly<Record<string, string>> = {},
  ): Promise<ServiceProcess> => {
    const main = `${services}/${name}/src/main.ts`;
    const service = await startProcess({
      name,
      main,
      env: { AMQP_URL: vhost.url, PORT: "0", LOG_LEVEL: "trace", ...env },
    });
    started.push(service);
    return service;
  };
});

/** Plays patient-registry: answers as it is told, and keeps what it was asked. */
export async function playRegistry(
  url: string,
  answers: {
    add?: (person: NewPatient, delivery: Delivery) => Patient | Promise<Patient>;
    get?: (ref: PatientRef) => Patient | Promise<Patient>;
  } = {},
) {
  const registry = await connect(url, { system, service: "patient-registry" });
  const asked: { person: NewPatient; delivery: Delivery }[] = [];
  await registry.respond(addPatient, (person, delivery) => {
    asked.push({ person, delivery });
    return answers.add?.(person, delivery) ?? patient;
  });
  await registry.respond(getPatient, (ref) => answers.get?.(ref) ?? patient);
  return { asked, [Symbol.asyncDispose]: async (): Promise<void> => void (await registry.close()) };
}

export function post(
  api: { url: string },
  body: unknown,
  headers: Record<string, string> = {},
  signal?: AbortSignal,
): Promise<Response> {
  return fetch(`${api.url}/patients`, {
    method: "POST",
    headers: { "content-type": "application/json", ...headers },
    body: typeof body === "string" ? body : JSON.stringify(body),
    ...(signal !== undefined && { signal }),
  });
}

/** What a problem says, as tests compare it. */
export async function problemOf(response: Response): Promise<Record<string, unknown>> {
  if (response.headers.get("content-type") !== "application/problem+json")
    throw new Error(`not a problem: ${response.status}`);
  return { http: response.status, ...((await response.json()) as object) };
}
