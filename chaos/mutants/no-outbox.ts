import type { MutantDeclaration } from "../src/mutant.ts";

export const mutant: MutantDeclaration = {
  what: "a notification is published directly after the commit, instead of through the outbox",
  patches: [
    {
      file: "packages/outbox/src/relay.ts",
      find: "const relay = new RunningRelay(database, options);",
      replace:
        "Object.assign(globalThis, { sendDirectly: options.send }); const relay = new RunningRelay(database, options);",
    },
    {
      file: "packages/outbox/src/outbox.ts",
      find: "await sql`select outbox_add(${key}::text, ${topic}::text, ${messageId}::uuid, ${json}::json)`.execute(tx);",
      replace: "void key; void tx; void sql; publishOnCommit('outbox:direct', { messageId, topic, message });",
    },
    {
      file: "packages/outbox/src/transaction.ts",
      find: "current.committed.push(() => channel(name).publish(facts));",
      replace: `current.committed.push(() => {
        channel(name).publish(facts);
        const { sendDirectly }: any = globalThis;
        if (name === "outbox:direct") void sendDirectly({ ...facts, signal: AbortSignal.timeout(10_000) }).catch(() => {});
      });`,
    },
  ],
  faults: ["patient-registry-killed-at-outbox-committed"],
};
