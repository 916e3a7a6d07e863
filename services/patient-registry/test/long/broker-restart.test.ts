import { setTimeout as sleep } from "node:timers/promises";
import type { Patient } from "@amqp-idioms/contracts";
import { AmqpKitError } from "amqp-kit";
import { expect } from "vitest";
import { onPostgres as test, openOthers, person } from "../running.ts";

test("The broker restarts under load: every person is registered once and notified, and the registry reconnects by itself", async ({
  ownBroker,
  stored,
  startRegistry,
  cleanup,
}) => {
  const registry = await startRegistry({ ...stored, AMQP_URL: ownBroker.url });
  const others = cleanup(await openOthers(ownBroker.url));

  const addUntilAnswered = async (key: string): Promise<Patient> => {
    for (;;) {
      try {
        return await others.add(person, key);
      } catch (error) {
        if (!(error instanceof AmqpKitError) || !error.retryable) throw error;
        await sleep(100);
      }
    }
  };
  const asked = Array.from({ length: 50 }, (_, index) => addUntilAnswered(`key-${index}`));
  await Promise.race(asked);
  await ownBroker.restart();
  const answers = await Promise.all(asked);

  await expect.poll(async () => (await fetch(`${registry.url}/readyz`)).status).toBe(200);
  expect(new Set(answers.map(({ patientId }) => patientId)).size).toBe(50);
  const ids = (): string[] => [...new Set(others.received.map(({ patient }) => patient.patientId))].toSorted();
  await expect.poll(ids).toEqual(answers.map(({ patientId }) => patientId).toSorted());
});
