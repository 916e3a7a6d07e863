import { randomUUID } from "node:crypto";
import { sql, type Transaction } from "kysely";
import { publishOnCommit } from "./transaction.ts";

export interface OutgoingMessage {
  /** What it is, for whoever sends it and for logs: a contract's name */
  topic: string;
  /** Messages of one key are sent in the order of their transactions' commits */
  key: string;
  /** Anything that has a JSON form */
  message: unknown;
}

/**
 * Adds a message that is sent if, and only if, the transaction commits: at least once, so its receivers have an inbox.
 * Another transaction that adds under the same key waits for this one's end; one that adds under several keys adds them in
 * an order that all keep to, else two of them may wait for each other (PostgreSQL then ends one with 40P01).
 * @param tx  of `database.transaction`
 * @returns the message's id, a UUID, which stays the same however often it is sent
 */
export async function addToOutbox<Tables>(
  tx: Transaction<Tables>,
  { topic, key, message }: OutgoingMessage,
): Promise<string> {
  const json = JSON.stringify(message);
  if (json === undefined) throw new TypeError(`A message of "${topic}" has no JSON form.`);
  const messageId = randomUUID();
  publishOnCommit("outbox:committed", { messageId, topic });
  await sql`select outbox_add(${key}::text, ${topic}::text, ${messageId}::uuid, ${json}::json)`.execute(tx);
  return messageId;
}
