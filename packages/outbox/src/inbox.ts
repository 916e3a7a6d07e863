import { sql, type Transaction } from "kysely";
import { publishOnCommit } from "./transaction.ts";

export interface IncomingMessage {
  /** Where it came from: ids are told apart within one source. A contract's name */
  source: string;
  messageId: string;
}

/**
 * Notes that a message has its effect in this transaction. While another transaction that notes the same is open, this waits for
 * its end.
 * @param tx  of `database.transaction`
 * @returns false when it had its effect before: then there is nothing to do
 */
export async function addToInbox<Tables>(
  tx: Transaction<Tables>,
  { source, messageId }: IncomingMessage,
): Promise<boolean> {
  const { rows } = await sql`
    insert into inbox (source, message_id) values (${source}, ${messageId}) on conflict do nothing returning 1
  `.execute(tx);
  if (rows.length === 0) return false;
  publishOnCommit("inbox:committed", { messageId, source });
  return true;
}
