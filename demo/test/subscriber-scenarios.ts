/** What both subscribers promise, on whichever database `env` names. */
import { randomUUID } from "node:crypto";
import { patientAdded } from "@amqp-idioms/contracts";
import type { VirtualHost } from "@amqp-idioms/local-servers";
import type { Cleanup } from "@amqp-idioms/local-servers/vitest";
import { expect } from "vitest";
import {
  connectRegistry,
  type Environment,
  newPatient,
  outcomesOf,
  patientCount,
  publish,
  type Running,
  startBoth,
} from "./subscribers.ts";

interface Scenario {
  vhost: VirtualHost;
  env: Environment;
  cleanup: Cleanup;
}

export const json = { content_type: "application/json" };

type Registry = Awaited<ReturnType<typeof connectRegistry>>;

/** Sends three patients twice: with the same message id, with a new one, and without one. */
export async function sendEachTwice(
  registry: Pick<Registry, "notify">,
  vhost: VirtualHost,
  running: Running[],
): Promise<void> {
  const before = running.map(outcomesOf);
  const [sameId, newId, noId] = [newPatient(), newPatient(), newPatient()];
  const messageId = randomUUID();
  await registry.notify(patientAdded, sameId, { messageId });
  await registry.notify(patientAdded, sameId, { messageId });
  await registry.notify(patientAdded, newId);
  await registry.notify(patientAdded, newId);
  await publish(vhost, JSON.stringify(noId), json);
  await publish(vhost, JSON.stringify(noId), json);
  for (const [index, one] of running.entries()) {
    const { handled, duplicates } = before[index] ?? { handled: 0, duplicates: 0 };
    const expected = { handled: handled + 3, duplicates: duplicates + 3 };
    await expect.poll(() => outcomesOf(one), { message: `outcomes of ${one.subscriber.name}` }).toEqual(expected);
    expect(await patientCount(one), `patients of ${one.subscriber.name}`).toBe(expected.handled);
  }
}

/** Stops both in the middle of 50 messages, and starts them again. */
export async function stopInTheMiddle({ vhost, env, cleanup }: Scenario): Promise<void> {
  const registry = cleanup(await connectRegistry(vhost.url));
  for (let sent = 0; sent < 40; sent++) await registry.notify(patientAdded, newPatient());
  const NODE_OPTIONS = `--import=${import.meta.resolve("./preload/slow-inbox.ts")}`;
  const stopped = await startBoth(cleanup, { ...env, NODE_OPTIONS });
  await Promise.all(
    stopped.map(async (one) => {
      await expect.poll(() => outcomesOf(one).handled).toBeGreaterThan(0);
      const { code, ms } = await one.process.stop();
      expect(code, `exit code of ${one.subscriber.name}`).toBe(0);
      expect(ms).toBeLessThan(8_000);
      expect(outcomesOf(one).handled, `handled by ${one.subscriber.name} until it stopped`).toBeLessThan(40);
    }),
  );
  for (let sent = 0; sent < 10; sent++) await registry.notify(patientAdded, newPatient());
  for (const one of await startBoth(cleanup, env)) {
    await expect.poll(() => patientCount(one), { message: `patients of ${one.subscriber.name}` }).toBe(50);
  }
}

/** Kills both between commit and acknowledgement, and starts them again. */
export async function killAfterCommit({ vhost, env, cleanup }: Scenario): Promise<void> {
  const registry = cleanup(await connectRegistry(vhost.url));
  const NODE_OPTIONS = `--import=${import.meta.resolve("./preload/kill-after-inbox.ts")}`;
  const doomed = await startBoth(cleanup, { ...env, NODE_OPTIONS });
  await registry.notify(patientAdded, newPatient());
  for (const { process } of doomed) expect(await process.exited).toMatchObject({ signal: "SIGKILL" });
  await registry.notify(patientAdded, newPatient());
  for (const one of await startBoth(cleanup, env)) {
    await expect
      .poll(() => outcomesOf(one), { message: `outcomes of ${one.subscriber.name}` })
      .toEqual({ handled: 1, duplicates: 1 });
    expect(await patientCount(one)).toBe(2);
  }
}
