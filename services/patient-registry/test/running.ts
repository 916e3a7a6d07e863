/** Starts the service as a user does, and plays the rest of the system. */
import { addPatient, getPatient, patientAdded, system } from "@amqp-idioms/contracts";
import type { NewPatient, Patient } from "@amqp-idioms/contracts";
import { startProcess } from "@amqp-idioms/local-servers";
import type { ServiceProcess } from "@amqp-idioms/local-servers";
import { closeAll, test as base } from "@amqp-idioms/local-servers/vitest";
import { connect } from "amqp-kit";
import { expect } from "vitest";

const main = `${import.meta.dirname}/../src/main.ts`;

/** Preloads the module that kills the process at the channel KILL_AT. */
export const killAt = `--import=${import.meta.resolve("./processes/kill-at.ts")}`;

type Environment = Readonly<Record<string, string>>;

/** No log line contains these words by chance. */
export const person: NewPatient = { given: "Zebedee", surname: "Quartermain", birthDate: "1990-02-28" };

/** @returns starts registries; when they are closed, no log line may contain a patient's name or the broker's password */
function registries(url: string, onCleanup: (close: () => Promise<void>) => void) {
  const started: ServiceProcess[] = [];
  const secrets = [person.given, person.surname, new URL(url).password];
  onCleanup(async () => {
    await closeAll(started);
    const lines = started.flatMap((one) => one.lines.map(({ text }) => text));
    const leaks = lines.filter((line) => secrets.some((secret) => line.includes(secret)));
    if (leaks.length > 0) throw new Error(["Log lines with personal data or secrets:", ...leaks].join("\n"));
  });
  return async (env: Environment): Promise<ServiceProcess> => {
    const environment = { AMQP_URL: url, PORT: "0", ...env };
    const registry = await startProcess({ name: "patient-registry", main, env: environment });
    started.push(registry);
    return registry;
  };
}

const test = base
  .extend("startRegistry", async ({ vhost }, { onCleanup }) => registries(vhost.url, onCleanup))
  .extend("startRegistryOfFile", { scope: "file" }, async ({ vhostOfFile }, { onCleanup }) =>
    registries(vhostOfFile.url, onCleanup),
  );

/** `stored` is the environment that names an empty database. */
export const onPostgres = test.extend("stored", async ({ database }): Promise<Environment> => ({
  DATABASE_URL: database.url,
}));
export const onEmbedded = test.extend("stored", async ({ dataFolder }): Promise<Environment> => ({
  DATA_DIR: await dataFolder("patient-registry"),
}));

export interface Notification {
  messageId: string | undefined;
  patient: Patient;
}

/** The rest of the system: a requester and a subscriber. */
export async function openOthers(url: string) {
  const requester = await connect(url, { system, service: "add-patient-api" });
  const subscriber = await connect(url, { system, service: "scheduling" });
  const received: Notification[] = [];
  await subscriber.subscribe(patientAdded, (patient, { messageId }) => void received.push({ messageId, patient }));
  return {
    received,
    add: (newPatient: NewPatient, idempotencyKey?: string) =>
      requester.request(addPatient, newPatient, idempotencyKey === undefined ? {} : { idempotencyKey }),
    get: (patientId: string) => requester.request(getPatient, { patientId }),
    /** Registers a marker, waits for its notification, and returns all notifications that arrived before it. */
    async receivedBeforeMarker(): Promise<Notification[]> {
      const { patientId } = await requester.request(addPatient, { given: "Marker", surname: "Last" });
      await expect.poll(() => received.map(({ patient }) => patient.patientId)).toContain(patientId);
      return received.filter(({ patient }) => patient.given !== "Marker");
    },
    async [Symbol.asyncDispose](): Promise<void> {
      await Promise.all([requester.close(), subscriber.close()]);
    },
  };
}

export type Others = Awaited<ReturnType<typeof openOthers>>;
