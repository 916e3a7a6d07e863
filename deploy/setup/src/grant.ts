import { setTimeout as sleep } from "node:timers/promises";
import { Client, escapeIdentifier, escapeLiteral } from "pg";
import { definitions } from "./definitions.ts";
import { databaseHost, type Passwords, passwords, withDatabase } from "./secrets.ts";
import { type Environment, secretsFolder } from "./settings.ts";

const patienceMs = 120_000;
/** One node speaks for all. */
const managementUrl = "http://rabbitmq:15672";

/** Gives both servers what they lack, once they answer. @returns what was done, for the log */
export async function grant(environment: Environment): Promise<string> {
  const all = await passwords(secretsFolder(environment));
  await untilItAnswers("the database", () => grantOnDatabase(all));
  await untilItAnswers("the broker's management API", () => grantOnBroker(all));
  return "users, databases and rights are in place";
}

/** A user and a database for each service; nobody else may connect to it. */
async function grantOnDatabase({ database }: Passwords): Promise<void> {
  const client = new Client({
    host: databaseHost,
    user: "postgres",
    password: database["postgres"],
    database: "postgres",
  });
  client.on("error", () => {});
  try {
    await client.connect();
    for (const service of withDatabase) {
      const name = escapeIdentifier(service);
      const login = `login password ${escapeLiteral(database[service] ?? "")}`;
      const { rowCount: roles } = await client.query("select from pg_roles where rolname = $1", [service]);
      await client.query(`${roles === 0 ? "create" : "alter"} role ${name} ${login}`);
      const { rowCount: databases } = await client.query("select from pg_database where datname = $1", [service]);
      if (databases === 0) await client.query(`create database ${name} owner ${name}`);
      await client.query(`revoke all on database ${name} from public`);
    }
  } finally {
    await client.end();
  }
}

/** What it loaded at its start, once more: a service may have been added to the system since. */
async function grantOnBroker({ broker }: Passwords): Promise<void> {
  const response = await fetch(`${managementUrl}/api/definitions`, {
    method: "POST",
    headers: {
      authorization: `Basic ${Buffer.from(`admin:${broker["admin"]}`).toString("base64")}`,
      "content-type": "application/json",
    },
    body: JSON.stringify(definitions(broker)),
    signal: AbortSignal.timeout(10_000),
  });
  if (!response.ok) throw new Error(`it answered ${response.status}: ${await response.text()}`);
}

async function untilItAnswers(what: string, attempt: () => Promise<void>): Promise<void> {
  for (const since = performance.now(); ; await sleep(500)) {
    try {
      return await attempt();
    } catch (error) {
      if (performance.now() - since < patienceMs) continue;
      const why = error instanceof Error ? error.message : String(error);
      throw new Error(`${what} did not take it within ${patienceMs / 1_000} s: ${why}`, { cause: error });
    }
  }
}
