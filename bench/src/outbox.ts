import { createDatabase } from "@amqp-idioms/local-servers";
import { addToOutbox, openDatabase, startRelay, type Database } from "@amqp-idioms/outbox";
import { connect } from "amqp-kit";
import { sql } from "kysely";
import type { Figure } from "./figure.ts";
import { events, message, system } from "./contracts.ts";
import { counter, perSecond, rateOf } from "./rate.ts";

const logger = { debug() {}, info() {}, warn() {}, error() {} };

/** One relay on PostgreSQL: how fast transactions fill its outbox, and how fast it publishes from it. */
export async function measureOutbox(url: string, postgresUrl: string, seconds: number): Promise<Figure[]> {
  await using postgres = await createDatabase(postgresUrl);
  await using database = await openDatabase({ url: postgres.url }, { schema: "bench", logger });
  await using amqp = await connect(url, { system, service: "sender" });
  let key = 0;
  const added = await rateOf(seconds, 10, () =>
    database.transaction((tx) => addToOutbox(tx, { topic: events.name, key: String((key += 1)), message })),
  );
  await sql`delete from outbox`.execute(database.kysely);
  const send = (): Promise<void> => amqp.notify(events, message);
  const manyKeys = await relayed(database, send, { rows: Math.ceil(2_000 * seconds), keys: Number.MAX_SAFE_INTEGER });
  const oneKey = await relayed(database, send, { rows: Math.ceil(500 * seconds), keys: 1 });
  return [
    { what: "outbox, transactions that add a message, 10 at a time", unit: "transactions/s", kit: added },
    { what: "outbox, relayed, a key per message", unit: "messages/s", kit: manyKeys },
    { what: "outbox, relayed, all under one key", unit: "messages/s", kit: oneKey },
  ];
}

async function relayed(
  database: Database<unknown>,
  send: () => Promise<void>,
  { rows, keys }: { rows: number; keys: number },
): Promise<number> {
  // In batches, because each key is locked until its transaction ends
  for (let from = 0; from < rows; from += 500) {
    await sql`select outbox_add((n % ${keys}::bigint)::text, ${events.name}::text, gen_random_uuid(), ${JSON.stringify(message)}::json)
      from generate_series(${from + 1}::bigint, ${Math.min(from + 500, rows)}::bigint) as n`.execute(database.kysely);
  }
  const sent = counter(rows);
  const startedAt = performance.now();
  const relay = startRelay(database, { send: () => send().then(sent.count), logger });
  await sent.done;
  const rate = perSecond(rows, startedAt);
  await relay.close();
  return rate;
}
