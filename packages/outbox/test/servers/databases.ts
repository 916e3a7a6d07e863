import { test as base } from "@amqp-idioms/local-servers/vitest";
import type { DatabaseLocation } from "../../src/index.ts";

/** The same tests on both databases: `describe.each(databases)("…, on %s", (_name, test) => …)`. */

/** A PostgreSQL database of each test's own. */
export const onPostgres = base.extend("location", ({ database }): DatabaseLocation => ({ url: database.url }));

/** An embedded one of each test's own, in memory. */
const embedded = base.extend("location", (): DatabaseLocation => ({ dataDir: "memory://" }));

export const databases = [
  ["PostgreSQL", onPostgres],
  ["the embedded database", embedded],
] as const;

export const silent = { debug() {}, info() {}, warn() {}, error() {} };
