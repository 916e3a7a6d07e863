/** The process that `guard` starts: when its parent has ended, it removes everything that the parent left behind. */
import { spawnSync } from "node:child_process";
import { rm } from "node:fs/promises";
import { createInterface } from "node:readline";
import type { Duty, WatchdogOrder } from "./watchdog.ts";

const duties = new Map<number, Duty>();
for await (const line of createInterface({ input: process.stdin })) {
  const order: WatchdogOrder = JSON.parse(line);
  if ("duty" in order) duties.set(order.id, order.duty);
  else duties.delete(order.id);
}

const left = [...duties.values()];
for (const duty of left) {
  if ("pid" in duty) kill(duty.pid);
}
for (const duty of left) {
  // Lazily: a process that is being killed may still have open files there
  if ("mount" in duty) spawnSync("umount", ["--lazy", duty.mount]);
}
for (const duty of left) {
  if ("folder" in duty) await rm(duty.folder, { recursive: true, force: true, maxRetries: 20, retryDelay: 100 });
  if ("container" in duty) await removeContainer(duty.container);
}
for (const duty of left) {
  // A network can be removed only when no container is connected to it
  if ("network" in duty) await removeNetwork(duty.network);
}

function kill(pid: number): void {
  try {
    process.kill(pid, "SIGKILL");
  } catch {
    // The process has ended by itself
  }
}

async function removeContainer(id: string): Promise<void> {
  const { getContainerRuntimeClient } = await import("testcontainers");
  const client = await getContainerRuntimeClient();
  await client.container.getById(id).remove({ force: true, v: true });
}

async function removeNetwork(id: string): Promise<void> {
  const { getContainerRuntimeClient } = await import("testcontainers");
  const client = await getContainerRuntimeClient();
  await client.container.dockerode.getNetwork(id).remove();
}
