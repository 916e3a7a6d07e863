import { randomUUID } from "node:crypto";
import { sql, type Transaction } from "kysely";
import { publishOnCommit } from "./transaction.ts";

export interface OutgoingMessage {
  /** The kind of message, for `send` and for logs: a contract's name */
  topic: string;
  /** Messages of one key are sent in the order of their transactions' commits */
  key: string;
  /** Anything that has a JSON form */
  message: unknown;
}

/**
 * Adds a message that is sent if, and only if, the transaction commits. It is sent at least once, so receivers need an inbox.
 * Another transaction that adds under the same key waits for the end of this one. Add several keys in an order that all transactions
 * share, else two of them may wait for each other (PostgreSQL then ends one with 40P01).
 * @param tx  the parameter of `database.transaction`
 * @returns the message's id, a UUID, which is the same for each attempt to send it
 * @throws TypeError if the message has no JSON form
 */
export async function addToOutbox<Tables>(
  tx: Transaction<Tables>,
  { topic, key, message }: OutgoingMessage,
): Promise<string> {
  const json = JSON.stringify(message);
  if (json === undefined)
    throw new TypeError(`A message of "${topic}" has no JSON form. Pass a value that JSON.stringify accepts.`);
  const messageId = randomUUID();
  publishOnCommit("outbox:committed", { messageId, topic });
  await sql`select outbox_add(${key}::text, ${topic}::text, ${messageId}::uuid, ${json}::json)`.execute(tx);
  return messageId;
}
