import type { MutantDeclaration } from "../src/mutant.ts";

/**
 * Removes the inbox and the table's own key, which would otherwise prevent the second effect that the ledger must see.
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
