// The entry `amqp-kit/derive`: what follows from a system without a broker. Pulls in neither amqplib nor I/O.

export { definitionsOf, operatorPermissions, permissionsOf } from "./permissions.ts";
export type { Definitions, Permissions } from "./permissions.ts";
export type { PolicyDefinitions } from "./dead-policy.ts";
