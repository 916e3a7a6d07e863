import { setTimeout as sleep } from "node:timers/promises";
import { join } from "node:path";
import { PGlite } from "@electric-sql/pglite";
import { Client } from "pg";
import type { ConnectionInfo } from "@amqp-idioms/local-servers";
import { within } from "./clock.ts";
import type { Observation } from "./observe.ts";
import type { ServiceName } from "./replica.ts";
import type { System } from "./system.ts";

/** The outside records that the ledger is compared with: the tables, the broker's queues and the probes' records. */

export interface Records {
  readonly patients: readonly { patientId: string; surname: string }[];
  readonly outbox: readonly { key: string }[];
  readonly appointments: readonly { patientId: string; startsAt: number; endsAt: number }[];
  readonly registrations: readonly { patientId: string }[];
  /** Message ids in each subscriber's inbox */
  readonly inboxes: Readonly<Record<string, readonly string[]>>;
}

export interface DeadLetter {
  readonly queue: string;
  readonly messageId: string;
  readonly body: string;
  readonly headers: Readonly<Record<string, unknown>>;
}

/** What one replica uses after garbage collection. */
interface Sample {
  readonly replica: string;
  readonly service: ServiceName;
  readonly heapBytes: number;
  readonly handles: number;
  readonly connections: number;
}

export interface ResourceUse {
  readonly replicas: readonly Sample[];
  /** By service, the sum over its replicas */
  readonly channels: Readonly<Record<string, number>>;
}

export type Query = (service: ServiceName, statement: string) => Promise<Record<string, unknown>[]>;

/** Reads the tables. Embedded databases can be read only while their services are stopped. */
export async function readRecords(system: System): Promise<Records> {
  const { database } = system;
  if (database !== undefined) return inPostgres(database.url, readTables);
  return readTables((service, statement) => inFolder(join(system.dataFolder, service), service, statement));
}

export async function readTables(query: Query): Promise<Records> {
  const inboxOf = async (service: ServiceName): Promise<string[]> =>
    (await query(service, "select message_id from inbox")).map((row) => String(row["message_id"]));
  const patients = await query("patient-registry", "select patient_id, surname from patient");
  const outbox = await query("patient-registry", "select key from outbox");
  const appointments = await query("scheduling", "select patient_id, starts_at, ends_at from appointment");
  const registrations = await query("reporting", "select patient_id from registration");
  return {
    patients: patients.map((row) => ({ patientId: String(row["patient_id"]), surname: String(row["surname"]) })),
    outbox: outbox.map((row) => ({ key: String(row["key"]) })),
    appointments: appointments.map((row) => ({
      patientId: String(row["patient_id"]),
      startsAt: Number(row["starts_at"]),
      endsAt: Number(row["ends_at"]),
    })),
    registrations: registrations.map((row) => ({ patientId: String(row["patient_id"]) })),
    inboxes: { scheduling: await inboxOf("scheduling"), reporting: await inboxOf("reporting") },
  };
}

async function inPostgres<T>(url: string, read: (query: Query) => Promise<T>): Promise<T> {
  const client = new Client({ connectionString: url });
  client.on("error", () => undefined);
  await client.connect();
  try {
    return await read(async (service, statement) => {
      await client.query(`set search_path to "${service}"`);
      return (await client.query(statement)).rows;
    });
  } finally {
    await client.end();
  }
}

async function inFolder(folder: string, schema: string, statement: string): Promise<Record<string, unknown>[]> {
  const database = await PGlite.create({ dataDir: join(folder, "pgdata") });
  try {
    await database.exec(`set search_path to "${schema}"`);
    return (await database.query<Record<string, unknown>>(statement)).rows;
  } finally {
    await database.close();
  }
}

/** Executes a mutant's statements on the services' database. */
export async function execute(system: System, statements: readonly string[]): Promise<void> {
  if (statements.length === 0) return;
  const client = new Client({ connectionString: system.database?.url });
  await client.connect();
  for (const statement of statements) await client.query(statement);
  await client.end();
}

/** Removes the dead letters from their queues and returns them. */
export async function takeDeadLetters({ vhost }: System): Promise<DeadLetter[]> {
  const { management, name } = vhost;
  const dead: DeadLetter[] = [];
  for (const { name: queue } of (await management.queues(name)).filter((queue) => queue.name.endsWith(".dead"))) {
    // A hundred at a time, because some are a megabyte long
    for (let last = 1; last > 0;) {
      const messages = await management.getMessages(name, queue, { count: 100, take: true });
      last = messages.length;
      for (const { payload, payload_encoding, properties } of messages) {
        const body = payload_encoding === "base64" ? "" : payload;
        dead.push({ queue, messageId: String(properties["message_id"]), body, headers: properties.headers ?? {} });
      }
    }
  }
  return dead;
}

/** Lists the messages in the services' queues and the outbox, without dead letters. Undefined while the broker has no counts. */
async function waitingMessages(system: System): Promise<string[] | undefined> {
  const { management, name } = system.vhost;
  const queues = (await management.queues(name)).filter((queue) => !queue.exclusive && !queue.name.endsWith(".dead"));
  if (queues.some(({ messages }) => messages === undefined)) return undefined;
  const filled = queues.filter(({ messages }) => messages !== 0);
  const held = filled.map(
    (queue) => `${queue.messages} in ${queue.name}, ${queue.messages_unacknowledged} of them unacknowledged`,
  );
  if (system.database === undefined) return held;
  const { outbox } = await inPostgres(system.database.url, async (query) => ({
    outbox: await query("patient-registry", "select key from outbox"),
  }));
  return outbox.length === 0 ? held : [...held, `${outbox.length} in the outbox of patient-registry`];
}

/** Waits until several checks in a row have found no message. @returns the messages that are left after the timeout */
export async function waitUntilIdle(system: System, timeoutMs: number): Promise<string[]> {
  let emptyChecks = 0;
  // Quorum queues update their counts every 5 s
  const checks = system.broker.cluster === undefined ? 2 : 7;
  let last: string[] | undefined;
  await within(timeoutMs, async () => {
    last = await waitingMessages(system).catch(() => undefined);
    emptyChecks = last?.length === 0 ? emptyChecks + 1 : 0;
    // The broker's counts are up to a second old
    if (emptyChecks < checks) await sleep(1_100);
    return emptyChecks >= checks;
  });
  if (emptyChecks >= checks) return [];
  return last === undefined || last.length === 0 ? ["the broker has no counts"] : last;
}

export async function observations(system: System): Promise<Observation[]> {
  const all = await Promise.all(system.replicas.map(({ probe }) => probe.observations()));
  return all.flat().toSorted((one, other) => one.at - other.at);
}

let lastSample = 0;

/** Makes every replica record its memory and handles, and counts its connections and channels. */
export async function measureResources(system: System): Promise<ResourceUse> {
  lastSample += 1;
  const sample = lastSample;
  await Promise.all(system.replicas.map(({ probe }) => probe.order({ sample })));
  const found = new Map<string, Observation>();
  await within(10_000, async () => {
    for (const seen of await observations(system)) {
      if (seen.event === "sample" && seen.facts["sample"] === sample) found.set(seen.replica, seen);
    }
    return found.size === system.replicas.length;
  });
  await Promise.all(system.replicas.map(({ probe }) => probe.order({})));
  const channels = await countChannels(system);
  const replicas = system.replicas.flatMap(({ name, service, links }) => {
    const seen = found.get(name);
    if (seen === undefined) return [];
    const { heapBytes, handles } = seen.facts;
    return [
      { replica: name, service, heapBytes: Number(heapBytes), handles: Number(handles), connections: links.length },
    ];
  });
  return { replicas, channels };
}

/** On a busy machine the management API lists a channel seconds after it was opened */
const statisticsMs = 4_000;
const channelCounts = 6;
const channelCountIntervalMs = 400;

/** Counts the lasting channels: the minimum of several counts, since checks of queues and exchanges open a channel for a moment. */
async function countChannels({ vhost }: System): Promise<Record<string, number>> {
  const { management, name } = vhost;
  const fewest: Record<string, number> = {};
  await sleep(statisticsMs);
  for (let count = 0; count < channelCounts; count += 1) {
    const connections = await management.connections(name);
    const serviceOf = new Map(connections.map((connection) => [connection.name, serviceNamed(connection)]));
    const channels = Map.groupBy(await management.channels(name), ({ connection_details }) =>
      serviceOf.get(connection_details?.name ?? ""),
    );
    for (const [service, { length }] of channels) {
      if (service !== undefined) fewest[service] = Math.min(fewest[service] ?? Infinity, length);
    }
    await sleep(channelCountIntervalMs);
  }
  return fewest;
}

/** The kit names its connections `service (purpose)`. The plain amqplib client's connection has no name. */
function serviceNamed({ client_properties }: ConnectionInfo): string | undefined {
  const name = client_properties?.["connection_name"];
  return typeof name === "string" ? name.split(" ")[0] : undefined;
}
