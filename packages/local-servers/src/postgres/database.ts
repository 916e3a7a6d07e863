import { randomBytes } from "node:crypto";
import { Client } from "pg";

export interface Database extends AsyncDisposable {
  readonly url: string;
  /** Drops it and disconnects its clients. */
  close(): Promise<void>;
}

/**
 * Creates an empty database with a random name.
 * @param serverUrl  URL of any database of the server, with a user that may create databases
 */
export async function createDatabase(serverUrl: string): Promise<Database> {
  const name = `test_${randomBytes(6).toString("hex")}`;
  await query(serverUrl, `CREATE DATABASE ${name}`);
  const url = new URL(serverUrl);
  url.pathname = `/${name}`;
  const close = async (): Promise<void> =>
    void (await query(serverUrl, `DROP DATABASE IF EXISTS ${name} WITH (FORCE)`));
  return { url: url.href, close, [Symbol.asyncDispose]: close };
}

/** @returns the server's version, such as "17.2" */
export async function postgresVersion(url: string): Promise<string> {
  const [row] = await query(url, "SHOW server_version");
  return String(row?.["server_version"]).split(" ")[0] ?? "";
}

export async function query(url: string, statement: string): Promise<Record<string, unknown>[]> {
  const client = new Client({ connectionString: url, connectionTimeoutMillis: 10_000 });
  client.on("error", () => {});
  await client.connect();
  try {
    return (await client.query(statement)).rows;
  } finally {
    await client.end();
  }
}
