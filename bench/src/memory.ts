import { connect } from "amqp-kit";
import { bareBroadcast, bareConnection } from "./bare.ts";
import { system, updates } from "./contracts.ts";
import type { BenchServers, Figure } from "./figure.ts";

const listeners = 100;

/** The broker's memory for an idle listener with its own connection: connection, channel and queue, without the kernel's buffers. */
export async function measureMemory(broker: BenchServers["broker"], url: string): Promise<Figure> {
  const kit = await perListener(broker, async () => {
    const amqp = await connect(url, { system, service: "receiver" });
    await amqp.listen(updates, () => {});
    return amqp;
  });
  const amqplib = await perListener(broker, async () => {
    const connection = await bareConnection(url);
    await bareBroadcast(connection, { exchange: "bench.bare", listeners: 1, onDelivery: () => {} });
    return connection;
  });
  return { what: "broker's memory for a listener with its own connection", unit: "KiB", kit, amqplib };
}

async function perListener(
  broker: BenchServers["broker"],
  open: () => Promise<{ close(): Promise<unknown> }>,
): Promise<number> {
  const before = await memoryOfClients(broker);
  const opened = await Promise.all(Array.from({ length: listeners }, open));
  const after = await memoryOfClients(broker);
  await Promise.all(opened.map((one) => one.close()));
  return (after - before) / 1024 / listeners;
}

/** The sum over all nodes of what https://www.rabbitmq.com/docs/memory-use counts for connections and queues. */
async function memoryOfClients({ managementUrl = "" }: BenchServers["broker"]): Promise<number> {
  const { origin, username, password } = new URL(managementUrl);
  const get = async <T>(path: string): Promise<T> => {
    const authorization = `Basic ${Buffer.from(`${username}:${password}`).toString("base64")}`;
    const response = await fetch(`${origin}/api${path}`, { headers: { authorization } });
    return (await response.json()) as T;
  };
  let bytes = 0;
  for (const { name } of await get<{ name: string }[]>("/nodes")) {
    const { memory } = await get<{ memory: Record<string, number> }>(`/nodes/${name}/memory`);
    for (const part of [
      "connection_readers",
      "connection_writers",
      "connection_channels",
      "connection_other",
      "queue_procs",
    ]) {
      bytes += memory[part] ?? 0;
    }
  }
  return bytes;
}
