/** How what stands on the broker is called, derived from the names of contracts and services. Data only: imports nothing. */

export function subscriptionQueue({ name }: { readonly name: string }, service: string): string {
  return `${name}.${service}`;
}

/** Of all services of a system. */
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

/** @param delayMs  or what matches every delay */
export function delayQueue(queue: string, delayMs: number | "[0-9]+"): string {
  return `${queue}.delay.${delayMs}`;
}

/** Where a queue's failed messages are published, and under `again` those that go back into it. */
export function failedExchange(queue: string): string {
  return `${queue}.failed`;
}

/** A name in a regular expression: names hold letters, digits, `_`, `-` and dots. */
export function escaped(name: string): string {
  return name.replaceAll(".", "\\.");
}
