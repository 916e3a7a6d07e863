/** The names of exchanges and queues, derived from the names of contracts and services. Data only: imports nothing. */

export function subscriptionQueue({ name }: { readonly name: string }, service: string): string {
  return `${name}.${service}`;
}

/** The subscription queues of all services of a system. */
export function subscriptionQueues(system: {
  readonly [service: string]: { readonly subscribes?: readonly { readonly name: string }[] };
}): string[] {
  return Object.entries(system).flatMap(([service, { subscribes = [] }]) =>
    subscribes.map((contract) => subscriptionQueue(contract, service)),
  );
}

export function deadQueue(queue: string): string {
  return `${queue}.dead`;
}

/** @param delayMs  a delay, or the pattern that matches every delay */
export function delayQueue(queue: string, delayMs: number | "[0-9]+"): string {
  return `${queue}.delay.${delayMs}`;
}

/** The exchange to which failed messages of a queue are published. The routing key `again` leads back into the queue. */
export function failedExchange(queue: string): string {
  return `${queue}.failed`;
}

/** Escapes a name for a regular expression: only the dot needs escaping, because names contain letters, digits, `_`, `-` and dots. */
export function escaped(name: string): string {
  return name.replaceAll(".", "\\.");
}
