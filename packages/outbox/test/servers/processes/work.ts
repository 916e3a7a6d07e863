/**
 * Acts as a service on the database LOCATION: handles the messages 0…9 with inbox and effect, adds each effect to the outbox, and
 * prints what the relay sends. Restarted after kill -9, it begins with 0 again, as a broker redelivers.
 */
import { setTimeout as sleep } from "node:timers/promises";
import { sql } from "kysely";
import { addToInbox, addToOutbox, openDatabase, startRelay } from "../../../src/index.ts";

const logger = { debug() {}, info() {}, warn() {}, error() {} };
const database = await openDatabase<{ effect: { what: string } }>(JSON.parse(process.env["LOCATION"] ?? ""), {
  schema: "test-kill",
  migrations: new URL("../migrations/", import.meta.url),
  logger,
});
const print = (line: object): boolean => process.stdout.write(`${JSON.stringify(line)}\n`);

const relay = startRelay(database, {
  send: async ({ messageId, message }) => print({ sent: message, messageId }),
  logger,
  sweepMs: 100,
});
for (let n = 0; n < 10; n += 1) {
  await database.transaction(async (tx) => {
    if (!(await addToInbox(tx, { source: "work", messageId: String(n) }))) return;
    await tx
      .insertInto("effect")
      .values({ what: String(n) })
      .execute();
    await addToOutbox(tx, { topic: "effect", key: "all", message: n });
  });
}
for (let left = 1; left > 0; await sleep(5)) {
  const { rows } = await sql<{ count: number }>`select count(*)::int as count from outbox`.execute(database.kysely);
  left = rows[0]?.count ?? 0;
}
await relay.close();
const effects = await database.kysely.selectFrom("effect").select("what").execute();
await database.close();
print({ msg: "ready", effects: effects.map(({ what }) => what) });
