import { randomUUID } from "node:crypto";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { patientAdded, system } from "@amqp-idioms/contracts";
import type { PatientAdded } from "@amqp-idioms/contracts";
import { startProcess } from "@amqp-idioms/local-servers";
import type { ServiceProcess, VirtualHost } from "@amqp-idioms/local-servers";
import { test } from "@amqp-idioms/local-servers/vitest";
import { connect } from "amqp-kit";

/** What the tests of this service share: the process as a user runs it, and the part of patient-registry. */

export const queue = `${patientAdded.name}.scheduling`;

type Environment = Record<string, string>;

interface StartOptions {
  /** A module that acts on the named points of a transaction */
  preload?: URL;
  waitForReady?: boolean;
}

/** Environment that names an empty database which outlives the process: one test object for each kind. */
export const onPostgres = test.extend("storage", ({ database }): Environment => ({ DATABASE_URL: database.url }));
// oxlint-disable-next-line no-empty-pattern -- vitest reads the parameters, and needs a pattern
export const onPglite = test.extend("storage", async ({}, { onCleanup }): Promise<Environment> => {
  const folder = await mkdtemp(join(tmpdir(), "scheduling-"));
  onCleanup(() => rm(folder, { recursive: true, force: true }));
  return { DATA_DIR: folder };
});

export function startScheduling(env: Environment, options: StartOptions = {}): Promise<ServiceProcess> {
  const { preload, waitForReady = true } = options;
  const main = fileURLToPath(new URL("../../src/main.ts", import.meta.url));
  return startProcess({
    name: "scheduling",
    command: process.execPath,
    args: [...(preload === undefined ? [] : ["--import", preload.href]), main],
    env: { PORT: "0", LOG_LEVEL: "debug", ...env },
    waitForReady,
  });
}

export function connectRegistry(urls: string) {
  return connect(urls, { system, service: "patient-registry" });
}

export function newPatient(given = "Ann"): PatientAdded {
  const registeredAt = new Date().toISOString();
  return { patientId: randomUUID(), given, surname: "Lee", birthDate: "1980-02-29", registeredAt };
}

/** As a foreign notifier does it, with just these properties. */
export async function publish(vhost: VirtualHost, body: string, properties: Record<string, unknown>): Promise<boolean> {
  return vhost.management.publish(vhost.name, { exchange: patientAdded.name, body, properties });
}

export interface ShownAppointment {
  patientId: string;
  startsAt: string;
  endsAt: string;
}

/** Those to come, by `GET /appointments`: the first hundred, or those of one day. */
export async function appointments(service: ServiceProcess, date?: string): Promise<ShownAppointment[]> {
  const response = await fetch(`${service.url}/appointments${date === undefined ? "" : `?date=${date}`}`);
  if (!response.ok) throw new Error(`GET /appointments answered ${response.status}`);
  return (await response.json()) as ShownAppointment[];
}

export async function patientsBooked(service: ServiceProcess): Promise<string[]> {
  return (await appointments(service)).map(({ patientId }) => patientId);
}
