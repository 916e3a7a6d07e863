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

function whyNot({ postgres }: System): string | undefined {
  return postgres === undefined ? "the databases are embedded" : undefined;
}

export const databaseFaults: readonly Fault[] = [
  {
    name: "database-killed",
    whyNot,
    async strike({ system: { postgres } }) {
      await postgres?.kill();
      await sleep(downMs);
      await postgres?.start();
    },
  },
  {
    name: "database-restarted",
    whyNot,
    async strike({ system: { postgres } }) {
      await postgres?.restart();
    },
  },
  {
    name: "database-full",
    whyNot: (system) =>
      whyNot(system) ??
      (system.postgres?.disk === undefined
        ? "a disk of its own takes root and the machine's own PostgreSQL"
        : undefined),
    async strike({ system: { postgres, database } }) {
      await postgres?.disk?.fill();
      await useUpLog(database?.url ?? "");
      await sleep(fullMs);
      await postgres?.disk?.free();
      // Without room for its log it ends itself
      await postgres?.start();
    },
  },
  {
    // For one alone, so that others go on sending it work
    name: "database-unreachable",
    whyNot,
    async strike({ system, random, note }) {
      const replica = random.pick(system.replicas.filter(({ database }) => database !== undefined));
      note(`for ${replica.name}`);
      replica.database?.refuse();
      replica.database?.cut();
      await sleep(unreachableMs);
      replica.database?.accept();
    },
  },
  {
    // A lock holds its work up, so that the kill strikes in the middle of it
    name: "killed-in-mid-work",
    whyNot,
    async strike({ system, random, note }) {
      const service = random.pick(["scheduling", "reporting"] as const);
      const replica = random.pick(system.of(service));
      note(replica.name);
      await using client = await connected(system.database?.url ?? "");
      await client.query(`begin; lock table ${tables[service]}`);
      await sleep(lockedMs);
      await replica.killAndStart();
      await client.query("rollback");
    },
  },
];

/** What it had set aside for its log would last for hours of this load: until it cannot write any more. */
async function useUpLog(url: string): Promise<void> {
  try {
    await using client = await connected(url);
    for (let written = 0; written < mostLogMessages; written += 1) {
      await client.query("select pg_logical_emit_message(false, 'chaos', repeat('x', 4000000))");
    }
  } catch {
    // As it should be
  }
}

async function connected(url: string): Promise<Client & AsyncDisposable> {
  const client = new Client({ connectionString: url });
  client.on("error", () => undefined);
  await client.connect();
  return Object.assign(client, { [Symbol.asyncDispose]: () => client.end() });
}
