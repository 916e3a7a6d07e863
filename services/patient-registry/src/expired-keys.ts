import type { Database } from "@amqp-idioms/outbox";
import type { Logger } from "@amqp-idioms/service-kit";
import { deleteExpiredKeys } from "./patient-store.ts";
import type { RegistryTables } from "./patient-store.ts";

const everyMs = 60 * 60_000;

/** Deletes expired idempotency keys now and every hour. A failure is logged, and the next hour is the next try. */
export function startDeletingExpiredKeys(
  database: Database<RegistryTables>,
  logger: Pick<Logger, "info" | "warn">,
): AsyncDisposable {
  const deleteKeys = async (): Promise<void> => {
    try {
      const count = await deleteExpiredKeys(database.kysely);
      if (count > 0) logger.info({ count }, "expired idempotency keys deleted");
    } catch {
      logger.warn({}, "expired idempotency keys could not be deleted");
    }
  };
  let running = deleteKeys();
  const timer = setInterval(() => {
    running = deleteKeys();
  }, everyMs).unref();
  return {
    async [Symbol.asyncDispose]() {
      clearInterval(timer);
      await running;
    },
  };
}
