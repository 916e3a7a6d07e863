import { test as base } from "@amqp-idioms/local-servers/vitest";
import type { DatabaseLocation } from "../../src/index.ts";

/** The same tests on both databases: `describe.each(databases)("…, on %s", (_name, test) => …)`. */

/** A PostgreSQL database of each test's own. */
export const onPostgres = base.extend("location", ({ database }): DatabaseLocation => ({ url: database.url }));

/** An embedded database in a folder of each test's own. */
const onEmbedded = base.extend("location", async ({ dataFolder }): Promise<DatabaseLocation> => ({
  dataDir: await dataFolder(),
}));

export const databases = [
  ["PostgreSQL", onPostgres],
  ["the embedded database", onEmbedded],
] as const;

export const silent = { debug() {}, info() {}, warn() {}, error() {} };
