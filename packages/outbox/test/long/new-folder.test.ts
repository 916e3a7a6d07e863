import { existsSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { startProcess } from "@amqp-idioms/local-servers";
import { test } from "@amqp-idioms/local-servers/vitest";
import { expect } from "vitest";
import { openDatabase } from "../../src/index.ts";
import { silent } from "../servers/databases.ts";

const options = {
  schema: "test-folder",
  migrations: new URL("../servers/migrations/", import.meta.url),
  logger: silent,
};
const main = fileURLToPath(new URL("../servers/processes/hold.ts", import.meta.url));

test("One of two that open a new folder at the same time is refused", async ({ dataFolder, cleanup }) => {
  const dataDir = join(await dataFolder(), "new", "one");
  const results = await Promise.allSettled([1, 2].map(() => openDatabase({ dataDir }, options)));
  for (const result of results) if (result.status === "fulfilled") cleanup(result.value);
  expect(results.map(({ status }) => status).toSorted()).toEqual(["fulfilled", "rejected"]);
});

test("A folder can be opened after kill -9 during its creation", async ({ dataFolder, cleanup }) => {
  const dataDir = join(await dataFolder(), "new");
  const creating = cleanup(await startProcess({ main, env: { DATA_DIR: dataDir, SAY_BEFORE: "1" } }));
  const data = join(dataDir, "pgdata", "base");
  await expect.poll(() => existsSync(data)).toBe(true);
  await creating.kill();
  const database = cleanup(await openDatabase<{ effect: { what: string } }>({ dataDir }, options));
  expect(await database.kysely.selectFrom("effect").selectAll().execute()).toEqual([]);
});
