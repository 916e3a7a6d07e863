import type { System } from "../contract.ts";
import { deadPolicy } from "./dead-policy.ts";
import type { PolicyDefinitions } from "./dead-policy.ts";
import { deadQueue, delayQueue, escaped, failedExchange, subscriptionQueue, subscriptionQueues } from "../names.ts";

/**
 * What follows from a system without connecting to anything: each user's rights on the broker, and the definitions that give them.
 * This file is its own entry, `amqp-kit/derive`, and pulls in neither amqplib nor I/O.
 */

/**
 * What a user may do in a virtual host: for each kind of right, a regular expression over the names of exchanges and queues, anchored at
 * both ends; `^$` permits nothing (rabbitmq.com/docs/access-control).
 */
export interface Permissions {
  readonly configure: string;
  readonly write: string;
  readonly read: string;
}

/** What a definitions file says beside users and their passwords (rabbitmq.com/docs/definitions). */
export interface Definitions extends PolicyDefinitions {
  readonly vhosts: readonly { readonly name: string }[];
  readonly permissions: readonly ({ readonly user: string; readonly vhost: string } & Permissions)[];
}

/** Names of exchanges and queues, by the right that is needed on them. */
interface Rights {
  configure: readonly string[];
  write: readonly string[];
  read: readonly string[];
}

/** What the broker calls a queue that is declared without a name. */
const serverNamed = "amq.gen-[A-Za-z0-9_-]+";
/** As which permissions know the exchange without a name, which reaches every queue. */
const defaultExchange = "amq.default";
/** Who uses `amqp-kit dead`. */
const operator = "operator";

/**
 * Least privilege: what each service's user needs for the roles that the system gives it, and nothing else.
 * @returns service → its rights
 */
export function permissionsOf<S extends System>(system: S): { readonly [Service in keyof S]: Permissions } {
  const permissions = Object.keys(system).map((service) => [service, permissionsFor(rightsOf(system, service))]);
  return Object.fromEntries(permissions) as { [Service in keyof S]: Permissions };
}

/** What whoever uses `amqp-kit dead` needs: to read each dead queue, and to publish to the exchange that leads back from it. */
export function operatorPermissions(system: System): Permissions {
  const queues = subscriptionQueues(system);
  return permissionsFor([{ configure: [], write: queues.map(failedExchange), read: queues.map(deadQueue) }]);
}

/**
 * The broker's side of a system, for RabbitMQ 4: a virtual host, the rights of one user per service, named as the service, and of
 * `operator`, and the policy that `amqp-kit dead policy` prints (3.x refuses that policy, and needs none). Users come first: the broker
 * refuses rights of one that it does not know.
 * @throws {TypeError} a service is called `operator`: it would share its rights with a person
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

/** By role; why each is needed stands where it is declared, in topology.ts. Binding takes write on the queue and read on the exchange. */
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
      // A queue that dead-letters is declared by who may read it; `.dead` is written blindly
      return { configure: own, write: own, read: [notification.name, queue, failed, delays] };
    }),
    // Seeing whether a queue has consumers takes any right on it, from RabbitMQ 4 on: write permits nothing else
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

/** Sorted, so that the order of a system's roles changes nothing. */
function patternOf(names: readonly string[]): string {
  const alternatives = [...new Set(names)].toSorted().map(escaped);
  return alternatives.length > 1 ? `^(${alternatives.join("|")})$` : `^${alternatives.join("")}$`;
}
