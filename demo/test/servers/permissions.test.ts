import { system } from "@amqp-idioms/contracts";
import type { VirtualHost } from "@amqp-idioms/local-servers";
import { type Cleanup, test } from "@amqp-idioms/local-servers/vitest";
import { connect, TopologyError } from "amqp-kit";
import { operatorPermissions, permissionsOf, type Permissions } from "amqp-kit/derive";
import { describe, expect } from "vitest";
import { partsOf, play, type Service, type User } from "../parts.ts";

const permissions: Record<User, Permissions> = { ...permissionsOf(system), operator: operatorPermissions(system) };
const users = Object.keys(permissions) as User[];
const rights = ["configure", "write", "read"] as const;

/** A user of this virtual host alone. @returns its URL */
async function createUser(
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

test("each service, and the operator, works under a user that has just the rights derived from the system", async ({
  vhost,
  cleanup,
}) => {
  const urls = new Map<User, string>();
  for (const user of users) urls.set(user, await createUser(vhost, cleanup, user));
  const urlOf = (user: User): string => urls.get(user) ?? "";
  await expect(play(["broadcast", "request", "operate"], { vhost, cleanup, urlOf })).resolves.toBeUndefined();
});

/** Each of a pattern's alternatives, with the pattern that is left without it. */
function withoutOne(pattern: string): { alternative: string; rest: string }[] {
  const alternatives = pattern.replace(/^\^\(?|\)?\$$/g, "").split("|");
  return alternatives
    .filter((alternative) => alternative !== "")
    .map((alternative) => {
      const others = alternatives.filter((other) => other !== alternative);
      return { alternative, rest: `^(${others.join("|")})$` };
    });
}

describe.concurrent("each of those rights is needed:", () => {
  const cases = users.flatMap((user) =>
    rights.flatMap((right) => withoutOne(permissions[user][right]).map((one) => ({ user, right, ...one }))),
  );
  test.for(cases)("$user cannot do without $right on $alternative", async (one, { vhost, broker, cleanup, expect }) => {
    const { user, right, alternative, rest } = one;
    const url = await createUser(vhost, cleanup, user, { ...permissions[user], [right]: rest });
    const playing = play(partsOf[user], { vhost, cleanup, urlOf: (other) => (other === user ? url : vhost.url) });
    // Before RabbitMQ 4 everybody sees whether a queue has consumers
    const isForLooking = user === "add-patient-api" && right === "write" && alternative !== "api";
    if (isForLooking && broker.version.startsWith("3.")) await expect(playing).resolves.toBeUndefined();
    // A broadcast is not confirmed, and who asks cannot know that the answer was refused
    else await expect(playing).rejects.toThrow(/ACCESS_REFUSED|messages dropped|No answer to/);
  });
});

test("under those rights nobody plays another's part, and each refusal says so", async ({ vhost, cleanup }) => {
  cleanup(await connect(vhost.url, { system, service: "patient-registry" }));
  const as = async (user: User, service: Service) =>
    cleanup(await connect(await createUser(vhost, cleanup, user), { system, service }));
  for (const user of ["scheduling", "reporting", "add-patient-api", "score-producer", "score-display"] as const) {
    await expect(as(user, "patient-registry")).rejects.toThrow(TopologyError);
  }
  for (const user of ["scheduling", "reporting", "add-patient-api", "patient-registry"] as const) {
    await expect(as(user, "score-producer")).rejects.toThrow(TopologyError);
  }
  await expect(as("scheduling", "reporting")).rejects.toThrow(/not permitted/);
  await expect(as("reporting", "scheduling")).rejects.toThrow(/not permitted/);
});
