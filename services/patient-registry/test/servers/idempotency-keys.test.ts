import { openDatabase } from "@amqp-idioms/outbox";
import { describe } from "vitest";
import type { RegistryTables } from "../../src/patient-store.ts";
import { databaseOptions, describeKeys, refuseNotification, test as base } from "../idempotency-keys.ts";

const test = base.override("registry", async ({ database, cleanup }) =>
  cleanup(await openDatabase<RegistryTables>({ url: database.url }, databaseOptions)),
);

describe("An idempotency key", () => {
  describeKeys(test);

  test("a notification that cannot be stored leaves no patient and no key: all three are one transaction (pitfall 47)", async ({
    registry,
  }) => {
    await refuseNotification(registry);
  });
});
