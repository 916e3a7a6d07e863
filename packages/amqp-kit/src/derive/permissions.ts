import type { System } from "../contract.ts";
import { deadPolicy } from "./dead-policy.ts";
import type { PolicyDefinitions } from "./dead-policy.ts";
import { deadQueue, delayQueue, escaped, failedExchange, subscriptionQueue, subscriptionQueues } from "../names.ts";

/** Derives each user's permissions on the broker from a system, and the definitions that grant them. Imports neither amqplib nor I/O. */

/**
 * The permissions of a user in a virtual host: for each kind, a regular expression over the names of exchanges and queues, anchored at both
 * ends. `^$` permits nothing (rabbitmq.com/docs/access-control).
 */
export interface Permissions {
  readonly configure: string;
  readonly write: string;
  readonly read: string;
}

/** A definitions file without users and their passwords (rabbitmq.com/docs/definitions). */
export interface Definitions extends PolicyDefinitions {
  readonly vhosts: readonly { readonly name: string }[];
  readonly permissions: readonly ({ readonly user: string; readonly vhost: string } & Permissions)[];
}

/** Names of exchanges and queues, by the kind of permission that is needed on them. */
interface Rights {
  configure: readonly string[];
  write: readonly string[];
  read: readonly string[];
}

/** The pattern of the name that the broker gives a queue declared without one. */
const serverNamed = "amq.gen-[A-Za-z0-9_-]+";
/** The default exchange's name in permission patterns. It reaches every queue. */
const defaultExchange = "amq.default";
/** The user of `amqp-kit dead`. */
const operator = "operator";

/**
 * Derives the permissions that each service's user needs for its roles in the system, and no others.
 * @returns service → permissions
 * @example
 * permissionsOf(system).till; // { configure: "^…$", write: "^…$", read: "^…$" }
 */
export function permissionsOf<S extends System>(system: S): { readonly [Service in keyof S]: Permissions } {
  const permissions = Object.keys(system).map((service) => [service, permissionsFor(rightsOf(system, service))]);
  return Object.fromEntries(permissions) as { [Service in keyof S]: Permissions };
}

/** Derives the permissions for `amqp-kit dead`: to read each dead queue, and to publish to the exchange that leads back from it. */
export function operatorPermissions(system: System): Permissions {
  const queues = subscriptionQueues(system);
  return permissionsFor([{ configure: [], write: queues.map(failedExchange), read: queues.map(deadQueue) }]);
}

/**
 * Derives the definitions of a system for RabbitMQ 4: a virtual host; the permissions of one user per service, with the name of the service,
 * and of `operator`; and the policy that `amqp-kit dead policy` prints (RabbitMQ 3.x refuses that policy, and needs none). Create the users
 * before you import them: the broker refuses permissions of an unknown user.
 * @throws {TypeError} a service is called `operator`: it would share its permissions with a person
 * @example
 * writeFileSync("definitions.json", JSON.stringify(definitionsOf(system, { virtualHost: "clinic" })));
 */
export function definitionsOf(system: System, { virtualHost }: { virtualHost: string }): Definitions {
  if (Object.hasOwn(system, operator))
    throw new TypeError(`System: a service cannot be called "${operator}", which is the user of "amqp-kit dead".`);
  const users = Object.entries({ ...permissionsOf(system), [operator]: operatorPermissions(system) });
  const dead = subscriptionQueues(system).map(deadQueue);
  return {
    vhosts: [{ name: virtualHost }],
    permissions: users.map(([user, permissions]) => ({ user, vhost: virtualHost, ...permissions })),
    policies: dead.length === 0 ? [] : deadPolicy(dead, virtualHost).policies,
  };
}

/** By role. topology.ts declares what these permissions are needed for. A binding needs write on the queue and read on the exchange. */
function rightsOf(system: System, service: string): Rights[] {
  const {
    broadcasts = [],
    listens = [],
    notifies = [],
    subscribes = [],
    requests = [],
    responds = [],
  } = system[service] ?? {};
  return [
    ...broadcasts.map(({ name }) => ({ configure: [name], write: [name], read: [] })),
    ...listens.map(({ name }) => ({
      configure: [name, serverNamed],
      write: [serverNamed],
      read: [name, serverNamed],
    })),
    ...notifies.map((notification) => {
      const { name } = notification;
      const subscribers = Object.keys(system).filter((other) => system[other]?.subscribes?.includes(notification));
      const queues = subscribers.map((subscriber) => subscriptionQueue(notification, subscriber));
      return { configure: [name, ...queues], write: [name, ...queues], read: [name] };
    }),
    ...subscribes.map((notification) => {
      const queue = subscriptionQueue(notification, service);
      const failed = failedExchange(queue);
      const delays = delayQueue(queue, "[0-9]+");
      const own = [queue, failed, deadQueue(queue), delays];
      // Declaring a queue that dead-letters needs read on it. `.dead` is only written.
      return { configure: own, write: own, read: [notification.name, queue, failed, delays] };
    }),
    // From RabbitMQ 4 on, counting the consumers of a queue needs any permission on it. Write permits nothing else there.
    ...requests.map(({ name, exchange }) => ({
      configure: [serverNamed],
      write: [exchange, name],
      read: [serverNamed],
    })),
    ...responds.map(({ name, exchange }) => ({
      configure: [exchange, name],
      write: [name, defaultExchange],
      read: [exchange, name],
    })),
  ];
}

function permissionsFor(rights: readonly Rights[]): Permissions {
  return {
    configure: patternOf(rights.flatMap(({ configure }) => configure)),
    write: patternOf(rights.flatMap(({ write }) => write)),
    read: patternOf(rights.flatMap(({ read }) => read)),
  };
}

/** Sorted, so that the order of the roles in a system does not matter. */
function patternOf(names: readonly string[]): string {
  const alternatives = [...new Set(names)].toSorted().map(escaped);
  return alternatives.length > 1 ? `^(${alternatives.join("|")})$` : `^${alternatives.join("")}$`;
}
