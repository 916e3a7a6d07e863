import { amqpMethods } from "@amqp-idioms/local-servers";
import type { FrameFilter } from "@amqp-idioms/local-servers";

/**
 * A queue that is gone without a word, as an exclusive one was after a partition up to RabbitMQ 4.1: nobody else may delete it. Whoever
 * asks the broker for it asks for another one of the same length, which there is not.
 */
export function withoutQueue(name: string): FrameFilter {
  const other = `amq.gen-${"x".repeat(name.length - "amq.gen-".length)}`;
  return ({ method, bytes }, direction) => {
    const isAsking = method === amqpMethods.queueDeclare || method === amqpMethods.queueBind;
    const at = bytes.indexOf(name);
    if (direction === "to-client" || !isAsking || at < 0) return "pass";
    return Buffer.concat([bytes.subarray(0, at), Buffer.from(other), bytes.subarray(at + name.length)]);
  };
}
