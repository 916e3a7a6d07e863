import { sql, type Transaction } from "kysely";
import { publishOnCommit } from "./transaction.ts";

export interface IncomingMessage {
  /** Where the message came from, a contract's name. An id is unique within one source */
  source: string;
  messageId: string;
}

/**
 * Records that a message takes effect in this transaction. Waits for the end of another open transaction that records the same message.
 * @param tx  the parameter of `database.transaction`
 * @returns false if the message has taken effect before: then do nothing
 * @example
 * await database.transaction(async (tx) => {
 *   if (!(await addToInbox(tx, { source: "notify.patient.add", messageId }))) return;
 *   await insertAppointment(tx, appointment);
 * });
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
