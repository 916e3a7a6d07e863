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
import type { Report } from "../../src/report.ts";

/** What the tests of this service share: the process as a user runs it, and the part of patient-registry. */

export const queue = `${patientAdded.name}.reporting`;

type Environment = Record<string, string>;

/** Environment that names an empty database which outlives the process: one test object for each kind. */
export const onPostgres = test.extend("storage", ({ database }): Environment => ({ DATABASE_URL: database.url }));
// oxlint-disable-next-line no-empty-pattern -- vitest reads the parameters, and needs a pattern
export const onPglite = test.extend("storage", async ({}, { onCleanup }): Promise<Environment> => {
  const folder = await mkdtemp(join(tmpdir(), "reporting-"));
  onCleanup(() => rm(folder, { recursive: true, force: true }));
  return { DATA_DIR: folder };
});

/** @param preload  URL of a module that acts on the named points of a transaction */
export function startReporting(env: Environment, preload?: URL): Promise<ServiceProcess> {
  const main = fileURLToPath(new URL("../../src/main.ts", import.meta.url));
  return startProcess({
    name: "reporting",
    command: process.execPath,
    args: [...(preload === undefined ? [] : ["--import", preload.href]), main],
    env: { PORT: "0", LOG_LEVEL: "debug", ...env },
    waitForReady: true,
  });
}

export function connectRegistry(urls: string) {
  return connect(urls, { system, service: "patient-registry" });
}

/** Registered on 1 June 2021 at noon by London's clock, at 41, if nothing else is said. */
export function newPatient(said: Partial<PatientAdded> = {}): PatientAdded {
  const registeredAt = "2021-06-01T11:00:00.000Z";
  return { patientId: randomUUID(), given: "Ann", surname: "Lee", birthDate: "1980-02-29", registeredAt, ...said };
}

/** As a foreign notifier does it, with just these properties. */
export async function publish(vhost: VirtualHost, body: string, properties: Record<string, unknown>): Promise<boolean> {
  return vhost.management.publish(vhost.name, { exchange: patientAdded.name, body, properties });
}

/** By `GET /reports/registrations`, of June 2021. */
export async function report(service: ServiceProcess, query = "from=2021-06-01&to=2021-06-30"): Promise<Report> {
  const response = await fetch(`${service.url}/reports/registrations?${query}`);
  if (!response.ok) throw new Error(`GET /reports/registrations answered ${response.status}`);
  return (await response.json()) as Report;
}

/** How many patients the report of June 2021 counts. */
export async function counted(service: ServiceProcess): Promise<number> {
  return (await report(service)).days.reduce((sum, { count }) => sum + count, 0);
}
