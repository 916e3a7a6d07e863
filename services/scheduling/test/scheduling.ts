/** Starts the service as a user does, and plays patient-registry. */
import { randomUUID } from "node:crypto";
import { fileURLToPath } from "node:url";
import { patientAdded, system } from "@amqp-idioms/contracts";
import type { PatientAdded } from "@amqp-idioms/contracts";
import { startProcess } from "@amqp-idioms/local-servers";
import type { ServiceProcess, VirtualHost } from "@amqp-idioms/local-servers";
import { connect } from "amqp-kit";

/** @param preload  a module that acts on the named points of a transaction */
export function startScheduling(env: Record<string, string>, preload?: URL): Promise<ServiceProcess> {
  const main = fileURLToPath(new URL("../src/main.ts", import.meta.url));
  const NODE_OPTIONS = preload === undefined ? undefined : `--import=${preload.href}`;
  return startProcess({ name: "scheduling", main, env: { PORT: "0", LOG_LEVEL: "debug", NODE_OPTIONS, ...env } });
}

export function connectRegistry(url: string) {
  return connect(url, { system, service: "patient-registry" });
}

export function newPatient(): PatientAdded {
  const registeredAt = new Date().toISOString();
  return { patientId: randomUUID(), given: "Ann", surname: "Lee", birthDate: "1980-02-29", registeredAt };
}

/** Publishes with exactly these properties, as a notifier without amqp-kit does. */
export function publish(vhost: VirtualHost, body: string, properties: Record<string, unknown>): Promise<boolean> {
  return vhost.management.publish(vhost.name, { exchange: patientAdded.name, body, properties });
}

export interface ShownAppointment {
  patientId: string;
  startsAt: string;
  endsAt: string;
}

/** `GET /appointments`: the next hundred appointments, or those of one day. */
export async function appointments(service: ServiceProcess, date?: string): Promise<ShownAppointment[]> {
  const response = await fetch(`${service.url}/appointments${date === undefined ? "" : `?date=${date}`}`);
  if (!response.ok) throw new Error(`GET /appointments answered ${response.status}`);
  return (await response.json()) as ShownAppointment[];
}

export async function patientsBooked(service: ServiceProcess): Promise<string[]> {
  return (await appointments(service)).map(({ patientId }) => patientId);
}
