/** Starts the service as a user does, and plays patient-registry. */
import { randomUUID } from "node:crypto";
import { fileURLToPath } from "node:url";
import { system } from "@amqp-idioms/contracts";
import type { PatientAdded } from "@amqp-idioms/contracts";
import { startProcess } from "@amqp-idioms/local-servers";
import type { ServiceProcess } from "@amqp-idioms/local-servers";
import { connect } from "amqp-kit";
import type { Report } from "../../src/report.ts";

export function startReporting(env: Record<string, string>): Promise<ServiceProcess> {
  const main = fileURLToPath(new URL("../../src/main.ts", import.meta.url));
  return startProcess({ name: "reporting", main, env: { PORT: "0", LOG_LEVEL: "debug", ...env } });
}

export function connectRegistry(url: string) {
  return connect(url, { system, service: "patient-registry" });
}

/** Unless `fields` says otherwise, the patient is 41 and was registered on 1 June 2021 at noon in London. */
export function newPatient(fields: Partial<PatientAdded> = {}): PatientAdded {
  const registeredAt = "2021-06-01T11:00:00.000Z";
  return { patientId: randomUUID(), given: "Ann", surname: "Lee", birthDate: "1980-02-29", registeredAt, ...fields };
}

/** `GET /reports/registrations`, for June 2021 unless `query` says otherwise. */
export async function report(service: ServiceProcess, query = "from=2021-06-01&to=2021-06-30"): Promise<Report> {
  const response = await fetch(`${service.url}/reports/registrations?${query}`);
  if (!response.ok) throw new Error(`GET /reports/registrations answered ${response.status}`);
  return (await response.json()) as Report;
}

/** How many patients the report of June 2021 counts. */
export async function counted(service: ServiceProcess): Promise<number> {
  return (await report(service)).days.reduce((sum, { count }) => sum + count, 0);
}
