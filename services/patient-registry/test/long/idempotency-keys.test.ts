import { openDatabase } from "@amqp-idioms/outbox";
import { describe } from "vitest";
import type { RegistryTables } from "../../src/patient-store.ts";
import { databaseOptions, describeKeys, refuseNotification, test as base } from "../idempotency-keys.ts";

const test = base.override("registry", async ({ dataFolder, cleanup }) =>
  cleanup(await openDatabase<RegistryTables>({ dataDir: await dataFolder() }, databaseOptions)),
);

describe("On the embedded database an idempotency key", () => {
  describeKeys(test);

  test("and a patient are not stored when the notification cannot be", async ({ registry }) => {
    await refuseNotification(registry);
  });
});
