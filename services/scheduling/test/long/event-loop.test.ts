import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { patientAdded } from "@amqp-idioms/contracts";
import { expect } from "vitest";
import { test } from "@amqp-idioms/local-servers/vitest";
import { connectRegistry, newPatient, patientsBooked, startScheduling } from "../scheduling.ts";

const queue = `${patientAdded.name}.scheduling`;

test("Its event loop is blocked for longer than the heartbeat: it reconnects by itself, books once, and logs how long it was blocked (pitfall 9)", async ({
  vhost,
  database,
  cleanup,
}) => {
  const folder = await mkdtemp(join(tmpdir(), "block-until-"));
  cleanup(() => rm(folder, { recursive: true }));
  const released = join(folder, "released");
  const registry = cleanup(await connectRegistry(vhost.url));
  const env = { DATABASE_URL: database.url, AMQP_URL: `${vhost.url}?heartbeat=5`, BLOCK_UNTIL: released };
  const preload = new URL("./preload/block-after-inbox.ts", import.meta.url);
  const scheduling = cleanup(await startScheduling(env, preload));
  const connections = async (): Promise<number> => {
    const all = await vhost.management.connections(vhost.name);
    return all.filter((one) => String(one.client_properties?.["connection_name"]).startsWith("scheduling")).length;
  };
  await expect.poll(connections).toBe(1);

  const [first, second] = [newPatient(), newPatient()];
  const since = performance.now();
  await registry.notify(patientAdded, first);
  await registry.notify(patientAdded, second);
  // The broker misses its heartbeats
  await expect.poll(connections, { timeout: 40_000 }).toBe(0);
  const blockedMs = performance.now() - since;
  expect(blockedMs).toBeGreaterThan(5_000);
  await writeFile(released, "");

  await expect.poll(() => patientsBooked(scheduling)).toEqual([first.patientId, second.patientId]);
  await expect
    .poll(() => vhost.management.queue(vhost.name, queue))
    .toMatchObject({ messages: 0, messages_unacknowledged: 0, consumers: 1 });
  const messages = scheduling.lines.flatMap(({ json }) => (json === undefined ? [] : [json]));
  const stall = messages.find(({ stalledMs }) => stalledMs !== undefined);
  expect(stall).toMatchObject({ stalledMs: expect.any(Number) });
  expect(stall?.["stalledMs"]).toBeGreaterThan(5_000);
  expect(stall?.["stalledMs"]).toBeLessThan(blockedMs + 5_000);
  expect(messages.filter(({ msg }) => msg === "already booked, nothing to do")).toHaveLength(1);
  expect(messages.filter(({ msg }) => msg === "appointment booked")).toHaveLength(2);
  expect((await fetch(`${scheduling.url}/readyz`)).status).toBe(200);
});
