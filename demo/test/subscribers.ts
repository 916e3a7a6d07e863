/** The two subscribers of `patientAdded`, seen from outside: their processes, log lines and HTTP APIs. */
import { randomUUID } from "node:crypto";
import { fileURLToPath } from "node:url";
import { patientAdded, system } from "@amqp-idioms/contracts";
import type { PatientAdded } from "@amqp-idioms/contracts";
import { startProcess } from "@amqp-idioms/local-servers";
import type { ServiceProcess, VirtualHost } from "@amqp-idioms/local-servers";
import type { Cleanup } from "@amqp-idioms/local-servers/vitest";
import { connect } from "amqp-kit";
import { z } from "zod";

export type Environment = Readonly<Record<string, string>>;

export interface Subscriber {
  readonly name: "scheduling" | "reporting";
  /** Log messages: a patient had its effect, and a patient was known already. */
  readonly handled: string;
  readonly duplicate: string;
  /** The path of its HTTP API that shows the patients of `newPatient`. */
  readonly path: string;
  /** The number of patients in the response. At most 100. */
  readonly count: (response: unknown) => number;
}

const Appointments = z.array(z.object({ patientId: z.uuid() }));
const Report = z.object({ days: z.array(z.object({ count: z.int() })) });

export const scheduling: Subscriber = {
  name: "scheduling",
  handled: "appointment booked",
  duplicate: "already booked, nothing to do",
  path: "/appointments",
  count: (response) => Appointments.parse(response).length,
};
export const reporting: Subscriber = {
  name: "reporting",
  handled: "registration counted",
  duplicate: "already counted, nothing to do",
  path: "/reports/registrations",
  count: (response) => Report.parse(response).days.reduce((sum, { count }) => sum + count, 0),
};

/** A process of a subscriber. */
export interface Running {
  readonly subscriber: Subscriber;
  readonly process: ServiceProcess;
}

/** Starts both subscribers, and resolves when they are ready. */
export function startBoth(
  cleanup: Cleanup,
  env: Environment,
  options: { waitForReady?: boolean } = {},
): Promise<Running[]> {
  return Promise.all([scheduling, reporting].map((subscriber) => startSubscriber(cleanup, subscriber, env, options)));
}

export async function startSubscriber(
  cleanup: Cleanup,
  subscriber: Subscriber,
  env: Environment,
  { waitForReady = true }: { waitForReady?: boolean } = {},
): Promise<Running> {
  const main = fileURLToPath(new URL(`../../services/${subscriber.name}/src/main.ts`, import.meta.url));
  const environment = { PORT: "0", LOG_LEVEL: "debug", ...env };
  const process = await startProcess({ name: subscriber.name, main, env: environment, waitForReady });
  return { subscriber, process: cleanup(process) };
}

/** Connects as patient-registry, the notifier. */
export function connectRegistry(url: string) {
  return connect(url, { system, service: "patient-registry" });
}

export function newPatient(fields: Partial<PatientAdded> = {}): PatientAdded {
  const registeredAt = new Date().toISOString();
  return { patientId: randomUUID(), given: "Ann", surname: "Lee", birthDate: "1980-02-29", registeredAt, ...fields };
}

/** Publishes with exactly these properties, as a notifier without amqp-kit does. */
export function publish(vhost: VirtualHost, body: string, properties: Record<string, unknown>): Promise<boolean> {
  return vhost.management.publish(vhost.name, { exchange: patientAdded.name, body, properties });
}

export function queueOf({ name }: Subscriber): string {
  return `${patientAdded.name}.${name}`;
}

/** How many patients the subscriber's HTTP API shows. */
export async function patientCount({ subscriber, process }: Running): Promise<number> {
  const response = await fetch(process.url + subscriber.path);
  if (!response.ok) throw new Error(`GET ${subscriber.path} answered ${response.status}`);
  return subscriber.count(await response.json());
}

export function messagesOf({ process }: Running): unknown[] {
  return process.lines.map(({ json }) => json?.["msg"]);
}

/** How many notifications had an effect, and how many were known already, by the log. */
export function outcomesOf(running: Running): { handled: number; duplicates: number } {
  const messages = messagesOf(running);
  const { handled, duplicate } = running.subscriber;
  return {
    handled: messages.filter((message) => message === handled).length,
    duplicates: messages.filter((message) => message === duplicate).length,
  };
}

export async function readiness({ process }: Running): Promise<number> {
  return (await fetch(`${process.url}/readyz`)).status;
}
