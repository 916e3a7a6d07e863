import { escaped } from "../names.ts";

/**
 * Looking at a message means taking it and putting it back. RabbitMQ 4.0 to 4.2 count that against a quorum queue's delivery limit (20
 * unless a policy says otherwise), and delete the message beyond it. From 4.3 only what was lost with its channel counts, before 4.0 there is no limit.
 * AMQP tells neither policies nor a queue's type, so that a person must vouch for the policy.
 */

const deliveryLimit = 20;

/** @returns whether this version counts a message that was looked at, as a failure */
export function countsLooks(version: string): boolean {
  const [, major, minor] = /^(\d+)\.(\d+)/.exec(version) ?? [];
  return Number(major) === 4 && Number(minor) < 3;
}

export function refusalToLook(version: string): string {
  return (
    `RabbitMQ ${version} counts each read of a quorum queue as a failed delivery, and deletes a message after ${deliveryLimit} of them. ` +
    `No message was read. Set the policy that "amqp-kit dead policy" prints, check that it applies ` +
    `(rabbitmqctl list_queues --vhost … name type policy effective_policy_definition), then pass --policy-is-set. Classic queues need only the option.`
  );
}

/** @param deliveryCount  the highest that was seen. @returns what to tell the person who looks, where the limit may come near */
export function warningOf(version: string, deliveryCount: number): string | undefined {
  // Beyond the limit a policy must have lifted it; before 4.0 there is none.
  if (Number.parseInt(version, 10) < 4 || deliveryCount < deliveryLimit / 2 || deliveryCount > deliveryLimit)
    return undefined;
  return (
    `A message was delivered ${deliveryCount} times without an acknowledgement, and RabbitMQ ${version} deletes it after ${deliveryLimit} times unless a policy ` +
    `lifts the delivery limit: "amqp-kit dead policy" prints one.`
  );
}

/** Policies as a definitions file has them (rabbitmq.com/docs/definitions): lifts the delivery limit of these queues. */
export interface PolicyDefinitions {
  policies: {
    vhost: string;
    name: string;
    pattern: string;
    "apply-to": "quorum_queues";
    definition: { "delivery-limit": -1 };
    priority: number;
  }[];
}

/** The highest priority wins alone: RabbitMQ does not add policies up. */
const priority = 100;

export function deadPolicy(queues: readonly string[], vhost: string): PolicyDefinitions {
  const pattern = `^(${queues.map(escaped).join("|")})$`;
  const definition = { "delivery-limit": -1 } as const;
  return { policies: [{ vhost, name: "amqp-kit-dead", pattern, "apply-to": "quorum_queues", definition, priority }] };
}

/** The same as a command for a POSIX shell. */
export function policyCommand({ policies }: PolicyDefinitions): string {
  return policies
    .map(({ vhost, name, pattern, definition, priority, "apply-to": applyTo }) => {
      const options = ["--vhost", quoted(vhost), "--priority", String(priority), "--apply-to", applyTo];
      const parts = [
        "rabbitmqctl",
        "set_policy",
        ...options,
        name,
        quoted(pattern),
        quoted(JSON.stringify(definition)),
      ];
      return parts.join(" ");
    })
    .join("\n");
}

function quoted(text: string): string {
  return `'${text.replaceAll("'", "'\\''")}'`;
}
