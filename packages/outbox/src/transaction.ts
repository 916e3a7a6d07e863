import { AsyncLocalStorage } from "node:async_hooks";
import { channel } from "node:diagnostics_channel";
import type { KyselyPlugin } from "kysely";

/** What goes on inside `database.transaction`, known to whatever is called from there. */

interface Running {
  isOpen: boolean;
  /** What is published once it has committed */
  readonly committed: (() => void)[];
}

const running = new AsyncLocalStorage<Running>();

/** Runs it as the transaction of all that it calls, and publishes the named points when it has committed. */
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

/** Publishes on a channel of `node:diagnostics_channel` when the transaction has committed. @throws Error outside of one */
export function publishOnCommit(name: string, facts: object): void {
  const current = running.getStore();
  if (current?.isOpen !== true) throw new Error("This needs a transaction of database.transaction(), not of Kysely.");
  current.committed.push(() => channel(name).publish(facts));
}

function refuseInside(what: string): void {
  if (running.getStore()?.isOpen !== true) return;
  throw new Error(
    `${what} was begun inside database.transaction(), which would wait for itself: use the transaction that it was handed.`,
  );
}

/**
 * Refuses statements outside the transaction while inside it: the embedded database would hang for ever, since it has one connection,
 * and PostgreSQL as soon as ten do so at once.
 */
export const refuseStatementsBesideTransaction: KyselyPlugin = {
  transformQuery({ node }) {
    refuseInside("A statement on database.kysely");
    return node;
  },
  transformResult: async ({ result }) => result,
};
