import type { MutantDeclaration } from "../src/mutant.ts";

/**
 * Inbox and natural key: the tables' own keys would save the day otherwise, and hide whether the ledger can see a second effect.
 */
export const mutant: MutantDeclaration = {
  what: "reporting counts a message again when it comes again",
  patches: [
    {
      file: "packages/outbox/src/inbox.ts",
      find: "if (rows.length === 0) return false;",
      replace: "",
    },
    {
      file: "services/reporting/src/registration-store.ts",
      find: '.onConflict((conflict) => conflict.column("patient_id").doNothing())',
      replace: "",
    },
  ],
  sql: ["alter table reporting.registration drop constraint registration_pkey"],
  faults: ["reporting-killed-at-inbox-committed"],
};
