import type { MutantDeclaration } from "../src/mutant.ts";

export const mutant: MutantDeclaration = {
  what: "a publish counts as done when it is written, not when the broker has confirmed it",
  patches: [
    {
      file: "packages/amqp-kit/src/broker/publisher.ts",
      find: "channel.raw.publish(this.#exchange, routingKey, body, properties, onSettled);",
      replace:
        "channel.raw.publish(this.#exchange, routingKey, body, properties, () => {}); setImmediate(onSettled, null);",
    },
  ],
  faults: ["network-swallows-notifications"],
};
