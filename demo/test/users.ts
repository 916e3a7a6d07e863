/** The broker's users with the permissions derived from the system. */
import { system } from "@amqp-idioms/contracts";
import type { VirtualHost } from "@amqp-idioms/local-servers";
import type { Cleanup } from "@amqp-idioms/local-servers/vitest";
import { operatorPermissions, permissionsOf, type Permissions } from "amqp-kit/derive";
import type { User } from "./exchanges.ts";

export const permissions: Record<User, Permissions> = {
  ...permissionsOf(system),
  operator: operatorPermissions(system),
};
export const users = Object.keys(permissions) as User[];

/** Creates a user for this virtual host only. @returns the URL under which it connects */
export async function createUser(
  { name, url, management }: VirtualHost,
  cleanup: Cleanup,
  user: User,
  granted = permissions[user],
): Promise<string> {
  const account = `${name}-${user}`;
  await management.createUser(account, "secret", { vhost: name, ...granted });
  cleanup(() => management.deleteUser(account));
  return url.replace(/\/\/[^@]*@/, `//${account}:secret@`);
}
