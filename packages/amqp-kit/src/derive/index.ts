// The entry `amqp-kit/derive`: what can be derived from a system without a broker. Imports neither amqplib nor I/O.

export { definitionsOf, operatorPermissions, permissionsOf } from "./permissions.ts";
export type { Definitions, Permissions } from "./permissions.ts";
