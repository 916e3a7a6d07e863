import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { patientAdded } from "@amqp-idioms/contracts";
import { expect } from "vitest";
import {
  connectRegistry,
  newPatient,
  onPostgres as test,
  patientsBooked,
  queue,
  startScheduling,
} from "./scheduling.ts";

test("its event loop is blocked for longer than the heartbeat: cut off in mid-message, it comes back by itself, books once, and says for how long (pitfall 9)", async ({
  vhost,
  storage,
  cleanup,
}) => {
  const folder = await mkdtemp(join(tmpdir(), "block-until-"));
  cleanup(() => rm(folder, { recursive: true }));
  const released = join(folder, "released");
  const registry = cleanup(await connectRegistry(vhost.url));
  const env = { ...storage, AMQP_URL: `${vhost.url}?heartbeat=5`, BLOCK_UNTIL: released };
  const preload = new URL("./preload/block-after-inbox.ts", import.meta.url);
  const scheduling = cleanup(await startScheduling(env, { preload }));
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
  const said = scheduling.lines.flatMap(({ json }) => (json === undefined ? [] : [json]));
  const stood = said.find(({ msg }) => String(msg).startsWith("this process stood still"));
  expect(stood).toMatchObject({ stalledMs: expect.any(Number) });
  expect(stood?.["stalledMs"]).toBeGreaterThan(5_000);
  expect(stood?.["stalledMs"]).toBeLessThan(blockedMs + 5_000);
  expect(said.filter(({ msg }) => msg === "already booked, nothing to do")).toHaveLength(1);
  expect(said.filter(({ msg }) => msg === "appointment booked")).toHaveLength(2);
  expect((await fetch(`${scheduling.url}/readyz`)).status).toBe(200);
});
