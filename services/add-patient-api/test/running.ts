import { addPatient, getPatient, system } from "@amqp-idioms/contracts";
import type { NewPatient, Patient, PatientRef } from "@amqp-idioms/contracts";
import { startProcess } from "@amqp-idioms/local-servers";
import type { ServiceProcess } from "@amqp-idioms/local-servers";
import { closeAll, test as base } from "@amqp-idioms/local-servers/vitest";
import { connect } from "amqp-kit";
import type { Delivery } from "amqp-kit";

const folder = `${import.meta.dirname}/../..`;

type Environment = Readonly<Record<string, string>>;
export type StartService = (name: "add-patient-api" | "patient-registry", env?: Environment) => Promise<ServiceProcess>;

/** No log line contains these words by chance. */
export const person = { given: "Zebedee", surname: "Quartermain", birthDate: "1990-02-28" };
export const patient: Patient = {
  patientId: "5a8b6a2e-7c67-4b21-9f5c-1d1f1cf7f6a0",
  ...person,
  registeredAt: "2026-03-01T09:30:00.123Z",
};

/** @returns starts services as a user does; when they are closed, no log line may contain a patient's name or the broker's password */
function serviceStarter(url: string, onCleanup: (close: () => Promise<void>) => void): StartService {
  const started: ServiceProcess[] = [];
  const secrets = [person.given, person.surname, new URL(url).password];
  onCleanup(async () => {
    await closeAll(started);
    const lines = started.flatMap((one) => one.lines.map(({ text }) => text));
    const leaks = lines.filter((line) => secrets.some((secret) => line.includes(secret)));
    if (leaks.length > 0) throw new Error(["Log lines with personal data or secrets:", ...leaks].join("\n"));
  });
  return async (name, env = {}) => {
    const main = `${folder}/${name}/src/main.ts`;
    const environment = { AMQP_URL: url, PORT: "0", LOG_LEVEL: "trace", ...env };
    const service = await startProcess({ name, main, env: environment });
    started.push(service);
    return service;
  };
}

export const test = base
  .extend("startService", async ({ vhost }, { onCleanup }) => serviceStarter(vhost.url, onCleanup))
  .extend("startServiceOfFile", { scope: "file" }, async ({ vhostOfFile }, { onCleanup }) =>
    serviceStarter(vhostOfFile.url, onCleanup),
  );

/** Plays patient-registry: answers with `answers`, and keeps the requests. */
export async function playRegistry(
  url: string,
  answers: {
    add?: (person: NewPatient, delivery: Delivery) => Patient | Promise<Patient>;
    get?: (ref: PatientRef) => Patient | Promise<Patient>;
  } = {},
) {
  const registry = await connect(url, { system, service: "patient-registry" });
  const requests: { person: NewPatient; delivery: Delivery }[] = [];
  await registry.respond(addPatient, (person, delivery) => {
    requests.push({ person, delivery });
    return answers.add?.(person, delivery) ?? patient;
  });
  await registry.respond(getPatient, (ref) => answers.get?.(ref) ?? patient);
  return { requests, [Symbol.asyncDispose]: async (): Promise<void> => void (await registry.close()) };
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

/** The problem details of a response, with its status as `http`. */
export async function problemOf(response: Response): Promise<Record<string, unknown>> {
  if (response.headers.get("content-type") !== "application/problem+json")
    throw new Error(`no problem details: ${response.status}`);
  return { http: response.status, ...((await response.json()) as object) };
}
