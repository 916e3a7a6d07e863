import { setTimeout as sleep } from "node:timers/promises";
import { Client, escapeIdentifier, escapeLiteral } from "pg";
import { definitions } from "./definitions.ts";
import { databaseHost, type Passwords, passwords, withDatabase } from "./secrets.ts";
import { type Environment, secretsFolder } from "./settings.ts";

const timeoutMs = 120_000;
/** In a cluster, one node answers for all. */
const managementUrl = "http://rabbitmq:15672";

/** Creates missing users, databases and permissions on both servers, once they answer. @returns a log message */
export async function grant(environment: Environment): Promise<string> {
  const all = await passwords(secretsFolder(environment));
  await retryUntilTimeout("the database", () => grantOnDatabase(all));
  await retryUntilTimeout("the broker's management API", () => grantOnBroker(all));
  return "users, databases and permissions exist";
}

/** Creates a user and a database for each service. No other user may connect to it. */
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

/** Imports the definitions again, because a service may have been added since the broker started. */
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

async function retryUntilTimeout(what: string, attempt: () => Promise<void>): Promise<void> {
  for (const since = performance.now(); ; await sleep(500)) {
    try {
      return await attempt();
    } catch (error) {
      if (performance.now() - since < timeoutMs) continue;
      const why = error instanceof Error ? error.message : String(error);
      throw new Error(`${what} refused or did not answer for ${timeoutMs / 1_000} s: ${why}`, { cause: error });
    }
  }
}
