import type { MutantDeclaration } from "../src/mutant.ts";

export const mutant: MutantDeclaration = {
  what: "a subscriber acknowledges a notification before it has handled it",
  patches: [
    {
      file: "packages/amqp-kit/src/notify/subscriber.ts",
      find: "await this.#handler(content, deliveryOf(",
      replace: "incoming.ack(); await this.#handler(content, deliveryOf(",
    },
  ],
  faults: ["killed-in-mid-work"],
};
