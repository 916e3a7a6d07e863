import { AsyncLocalStorage } from "node:async_hooks";
import { channel } from "node:diagnostics_channel";
import type { KyselyPlugin } from "kysely";

/** The state of `database.transaction`, available to all code that is called inside it. */

interface Running {
  isOpen: boolean;
  /** Called after the commit */
  readonly committed: (() => void)[];
}

const running = new AsyncLocalStorage<Running>();

/** Runs a transaction, makes it known to the code inside it, and publishes the named points after the commit. */
export async function asTransaction<T>(transaction: (inside: <R>(work: () => R) => R) => Promise<T>): Promise<T> {
  refuseInside("Another transaction");
  const own: Running = { isOpen: true, committed: [] };
  try {
    const result = await transaction((work) => running.run(own, work));
    for (const publish of own.committed) publish();
    return result;
  } finally {
    own.isOpen = false;
  }
}

/** Publishes on a channel of `node:diagnostics_channel` after the commit. @throws Error outside of a transaction */
export function publishOnCommit(name: string, facts: object): void {
  const current = running.getStore();
  if (current?.isOpen !== true)
    throw new Error("This function needs a transaction of database.transaction(), not one of Kysely.");
  current.committed.push(() => channel(name).publish(facts));
}

function refuseInside(what: string): void {
  if (running.getStore()?.isOpen !== true) return;
  throw new Error(
    `${what} inside database.transaction() would wait for itself. Use the transaction that is passed to the callback.`,
  );
}

/**
 * Refuses statements outside of the transaction that is open: the embedded database, with its one connection, would hang for ever,
 * and PostgreSQL would when ten do so at the same time.
 */
export const refuseStatementsBesideTransaction: KyselyPlugin = {
  transformQuery({ node }) {
    refuseInside("A statement on database.kysely");
    return node;
  },
  transformResult: async ({ result }) => result,
};
