import { addPatient, getPatient, patientAdded, system } from "@amqp-idioms/contracts";
import type { NewPatient, Patient } from "@amqp-idioms/contracts";
import { startProcess } from "@amqp-idioms/local-servers";
import type { ServiceProcess } from "@amqp-idioms/local-servers";
import { closeAll, test as base } from "@amqp-idioms/local-servers/vitest";
import { connect } from "amqp-kit";
import { expect } from "vitest";

const main = `${import.meta.dirname}/../../src/main.ts`;

/** No log line has any of these words by chance. */
export const person: NewPatient = { given: "Zebedee", surname: "Quartermain", birthDate: "1990-02-28" };

/** `startRegistry` starts the process as a user does. When the test is over, no line it wrote may hold a patient's name or the broker's password. */
const test = base.extend("startRegistry", async ({ vhost }, { onCleanup }) => {
  const started: ServiceProcess[] = [];
  const secrets = [person.given, person.surname, new URL(vhost.url).password];
  onCleanup(async () => {
    await closeAll(started);
    const lines = started.flatMap((one) => one.lines.map(({ text }) => text));
    const telling = lines.filter((line) => secrets.some((secret) => line.includes(secret)));
    if (telling.length > 0) throw new Error(["Lines with what must not be logged:", ...telling].join("\n"));
  });
  return async (env: Environment): Promise<ServiceProcess> => {
    const registry = await startProcess({
      name: "patient-registry",
      main,
      env: { AMQP_URL: vhost.url, PORT: "0", ...env },
    });
    started.push(registry);
    return registry;
  };
});

type Environment = Readonly<Record<string, string>>;

/** `stored`: the environment that names where the patients are kept. */
export const onPostgres = test.extend("stored", async ({ database }): Promise<Environment> => ({
  DATABASE_URL: database.url,
}));
export const onEmbedded = test.extend("stored", async ({ dataFolder }): Promise<Environment> => ({
  DATA_DIR: await dataFolder("patient-registry"),
}));

interface Heard {
  messageId: string | undefined;
  patient: Patient;
}

/** The others of the system: who asks, and who is notified. */
export async function openOthers(url: string) {
  const asking = await connect(url, { system, service: "add-patient-api" });
  const hearing = await connect(url, { system, service: "scheduling" });
  const heard: Heard[] = [];
  await hearing.subscribe(patientAdded, (patient, { messageId }) => void heard.push({ messageId, patient }));
  return {
    heard,
    add: (who: NewPatient, idempotencyKey?: string) =>
      asking.request(addPatient, who, idempotencyKey === undefined ? {} : { idempotencyKey }),
    get: (patientId: string) => asking.request(getPatient, { patientId }),
    /** All that was notified before a marker, which is registered now: those ahead of it would have come by then. */
    async heardBeforeMarker(): Promise<Heard[]> {
      const { patientId } = await asking.request(addPatient, { given: "Marker", surname: "Last" });
      await expect.poll(() => heard.map(({ patient }) => patient.patientId)).toContain(patientId);
      return heard.filter(({ patient }) => patient.given !== "Marker");
    },
    async [Symbol.asyncDispose](): Promise<void> {
      await Promise.all([asking.close(), hearing.close()]);
    },
  };
}
