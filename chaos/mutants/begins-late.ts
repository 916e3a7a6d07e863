import type { MutantDeclaration } from "../src/mutant.ts";

export const mutant: MutantDeclaration = {
  what: "a responder begins a request after its time limit",
  patches: [
    {
      file: "packages/amqp-kit/src/request-response/responder.ts",
      find: "if (expiresAt !== undefined && expiresAt <= performance.now()) {",
      replace: "if (expiresAt !== undefined && expiresAt < 0) {",
    },
  ],
  faults: ["responder-frozen"],
};
