import { escaped } from "../names.ts";

/**
 * The policy that lifts the delivery limit of dead queues. `amqp-kit dead` reads a message by consuming and requeueing it. RabbitMQ 4.0 to 4.2
 * count that against the delivery limit of a quorum queue (20 by default), and delete the message beyond it. From 4.3 on, only messages that
 * were lost with their channel count. Before 4.0 there is no limit. AMQP reports neither policies nor the type of a queue, so a person must
 * confirm that the policy is set.
 */

const deliveryLimit = 20;

/** Whether this version counts the reading of a message as a failed delivery. */
export function countsReads(version: string): boolean {
  const [, major, minor] = /^(\d+)\.(\d+)/.exec(version) ?? [];
  return Number(major) === 4 && Number(minor) < 3;
}

export function refusalToRead(version: string): string {
  return (
    `RabbitMQ ${version} counts each read of a quorum queue as a failed delivery, and deletes a message after ${deliveryLimit} of them. ` +
    `No message was read. Set the policy that "amqp-kit dead policy" prints, check that it applies ` +
    `(rabbitmqctl list_queues --vhost … name type policy effective_policy_definition), then pass --policy-is-set. Classic queues need only the option.`
  );
}

/**
 * @param deliveryCount  the highest count of the messages that were read
 * @returns a warning for the person who reads them, if the limit may be near
 */
export function deliveryLimitWarning(version: string, deliveryCount: number): string | undefined {
  // A count above the limit shows that a policy has lifted it. Before 4.0 there is no limit.
  if (Number.parseInt(version, 10) < 4 || deliveryCount < deliveryLimit / 2 || deliveryCount > deliveryLimit)
    return undefined;
  return (
    `A message was delivered ${deliveryCount} times without an acknowledgement, and RabbitMQ ${version} deletes it after ${deliveryLimit} times unless a policy ` +
    `lifts the delivery limit: "amqp-kit dead policy" prints one.`
  );
}

/** Policies in the form of a definitions file (rabbitmq.com/docs/definitions). They lift the delivery limit of these queues. */
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

/** Only the policy with the highest priority applies: RabbitMQ does not combine policies. */
const priority = 100;

export function deadPolicy(queues: readonly string[], vhost: string): PolicyDefinitions {
  const pattern = `^(${queues.map(escaped).join("|")})$`;
  const definition = { "delivery-limit": -1 } as const;
  return { policies: [{ vhost, name: "amqp-kit-dead", pattern, "apply-to": "quorum_queues", definition, priority }] };
}

/** The same policy as a command for a POSIX shell. */
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
