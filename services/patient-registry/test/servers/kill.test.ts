import { addPatient } from "@amqp-idioms/contracts";
import { AmqpKitError } from "amqp-kit";
import { describe, expect } from "vitest";
import { onEmbedded, onPostgres, openOthers, person } from "./running.ts";

const killAt = `--import=${import.meta.resolve("./processes/kill-at.ts")}`;

/** Where a process can die between taking a request and having told everybody. */
const points = [
  ["before anything is written", "amqp-kit:request-begun"],
  ["between commit and answer, nobody notified yet", "outbox:committed"],
  ["after the broker has the notification, before that is marked", "outbox:sent"],
] as const;

describe.for([
  ["PostgreSQL", onPostgres],
  ["the embedded database", onEmbedded],
] as const)("on %s, killed with -9", ([, test]) => {
  for (const [what, channel] of points) {
    test(`${what}: the patient is there once, everybody is notified under one message id, and the key works (pitfall 47)`, async ({
      vhost,
      stored,
      startRegistry,
      cleanup,
    }) => {
      const others = cleanup(await openOthers(vhost.url));
      const doomed = await startRegistry({ ...stored, NODE_OPTIONS: killAt, KILL_AT: channel });
      const asked = others.add(person, "key-1").catch((error: unknown) => error);
      expect(await doomed.exited).toMatchObject({ signal: "SIGKILL" });

      await startRegistry(stored);
      // The request itself is handed to the next responder if there is one within the caller's time limit
      const answer = await asked;
      const patient = await others.add(person, "key-1");
      expect(answer instanceof AmqpKitError ? answer.retryable : answer).toEqual(
        answer instanceof AmqpKitError ? true : patient,
      );
      await expect(others.get(patient.patientId)).resolves.toEqual(patient);
      await expect(others.add({ ...person, given: "Zelda" }, "key-1")).rejects.toMatchObject({
        contract: addPatient.name,
        error: "idempotency_key_reused",
      });

      const heard = await others.heardBeforeMarker();
      expect(heard.length).toBeGreaterThanOrEqual(1);
      expect(new Set(heard.map((one) => JSON.stringify(one))).size, "distinct notifications").toBe(1);
      expect(heard[0]).toEqual({ messageId: expect.any(String), patient });
    });
  }
});
