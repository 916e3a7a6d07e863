import { setTimeout as sleep } from "node:timers/promises";
import { Client } from "pg";
import type { System } from "../system.ts";
import type { Fault } from "./fault.ts";

const downMs = 2_000;
const fullMs = 4_000;
const mostLogMessages = 50;
const unreachableMs = 3_000;
const lockedMs = 1_000;
const tables = { scheduling: "scheduling.appointment", reporting: "reporting.registration" } as const;

function unavailableReason({ postgres }: System): string | undefined {
  return postgres === undefined ? "the databases are embedded" : undefined;
}

export const databaseFaults: readonly Fault[] = [
  {
    name: "database-killed",
    unavailableReason,
    async inject({ system: { postgres } }) {
      await postgres?.kill();
      await sleep(downMs);
      await postgres?.start();
    },
  },
  {
    name: "database-restarted",
    unavailableReason,
    async inject({ system: { postgres } }) {
      await postgres?.restart();
    },
  },
  {
    name: "database-full",
    unavailableReason: (system) =>
      unavailableReason(system) ??
      (system.postgres?.disk === undefined ? "a full disk needs root and the machine's own PostgreSQL" : undefined),
    async inject({ system: { postgres, database } }) {
      await postgres?.disk?.fill();
      await fillLog(database?.url ?? "");
      await sleep(fullMs);
      await postgres?.disk?.free();
      // PostgreSQL exits when it cannot write its log
      await postgres?.start();
    },
  },
  {
    // For one replica only, so that the others keep sending it work
    name: "database-unreachable",
    unavailableReason,
    async inject({ system, random, setDetail }) {
      const replica = random.pick(system.replicas.filter(({ database }) => database !== undefined));
      setDetail(`for ${replica.name}`);
      replica.database?.refuse();
      replica.database?.cut();
      await sleep(unreachableMs);
      replica.database?.accept();
    },
  },
  {
    // A lock delays the transaction, so that the kill comes in the middle of it
    name: "killed-in-mid-work",
    unavailableReason,
    async inject({ system, random, setDetail }) {
      const service = random.pick(["scheduling", "reporting"] as const);
      const replica = random.pick(system.of(service));
      setDetail(replica.name);
      await using client = await connected(system.database?.url ?? "");
      await client.query(`begin; lock table ${tables[service]}`);
      await sleep(lockedMs);
      await replica.killAndStart();
      await client.query("rollback");
    },
  },
];

/** Writes to PostgreSQL's write-ahead log until the disk is full. Without this, the log files that PostgreSQL has already allocated would last for hours of this load. */
async function fillLog(url: string): Promise<void> {
  try {
    await using client = await connected(url);
    for (let written = 0; written < mostLogMessages; written += 1) {
      await client.query("select pg_logical_emit_message(false, 'chaos', repeat('x', 4000000))");
    }
  } catch {
    // The write fails when the disk is full
  }
}

async function connected(url: string): Promise<Client & AsyncDisposable> {
  const client = new Client({ connectionString: url });
  client.on("error", () => undefined);
  await client.connect();
  return Object.assign(client, { [Symbol.asyncDispose]: () => client.end() });
}
