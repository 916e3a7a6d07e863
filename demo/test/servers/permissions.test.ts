import { subscribe, unsubscribe } from "node:diagnostics_channel";
import { readFile } from "node:fs/promises";
import { addPatient, getPatient, patientAdded, system } from "@amqp-idioms/contracts";
import { Management, type VirtualHost } from "@amqp-idioms/local-servers";
import { type Cleanup, test } from "@amqp-idioms/local-servers/vitest";
import { connect, defineSystem, TopologyError } from "amqp-kit";
import { operatorPermissions, permissionsOf, type Permissions } from "amqp-kit/derive";
import { describe, expect } from "vitest";
import { bareUser } from "../peers/bare-user.ts";
import { partsOf, patient, play, type Service, type User } from "../parts.ts";

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

test("each service, and the operator, works under a user that has just the rights derived from the system (pitfall 115)", async ({
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

describe("scheduling's user, with a client of its own,", () => {
  const notifications = "notify.patient.add";
  const own = `${notifications}.scheduling`;
  const others = `${notifications}.reporting`;
  type User = Awaited<ReturnType<typeof bareUser>>;
  const attempts: Record<string, { on: string; tries: (user: User) => Promise<unknown> }> = {
    "publish a patient notification": { on: notifications, tries: ({ publish }) => publish(notifications, "") },
    "have its own queue dead-letter into the notification's exchange": {
      on: notifications,
      tries: ({ attempt }) =>
        attempt((channel) => channel.assertQueue(`${own}.delay.1`, { deadLetterExchange: notifications })),
    },
    "have its own exchange pass on to the notification's": {
      on: notifications,
      tries: ({ attempt }) =>
        attempt((channel) => channel.assertExchange(`${own}.delay.1`, "direct", { alternateExchange: notifications })),
    },
    "read reporting's queue": { on: others, tries: ({ attempt }) => attempt((channel) => channel.get(others)) },
    "consume reporting's queue": {
      on: others,
      tries: ({ attempt }) => attempt((channel) => channel.consume(others, () => {})),
    },
    "read what reporting has set aside": {
      on: `${others}.dead`,
      tries: ({ attempt }) => attempt((channel) => channel.get(`${others}.dead`)),
    },
    "write to reporting's queue through the default exchange": {
      on: "amq.default",
      tries: ({ publish }) => publish("", others),
    },
    "have its own queue dead-letter into reporting's": {
      on: "amq.default",
      tries: ({ attempt }) =>
        attempt((channel) =>
          channel.assertQueue(`${own}.delay.1`, { deadLetterExchange: "", deadLetterRoutingKey: others }),
        ),
    },
    "write to reporting's queue through its failures' exchange": {
      on: `${others}.failed`,
      tries: ({ publish }) => publish(`${others}.failed`, "again"),
    },
    "bind reporting's queue": {
      on: others,
      tries: ({ attempt }) => attempt((channel) => channel.bindQueue(others, `${own}.failed`, "again")),
    },
    "unbind reporting's queue": {
      on: others,
      tries: ({ attempt }) => attempt((channel) => channel.unbindQueue(others, notifications, "")),
    },
    "empty reporting's queue": { on: others, tries: ({ attempt }) => attempt((channel) => channel.purgeQueue(others)) },
    "delete reporting's queue": {
      on: others,
      tries: ({ attempt }) => attempt((channel) => channel.deleteQueue(others)),
    },
    "delete the notification's exchange": {
      on: notifications,
      tries: ({ attempt }) => attempt((channel) => channel.deleteExchange(notifications)),
    },
    "take a request": { on: "add_patient", tries: ({ attempt }) => attempt((channel) => channel.get("add_patient")) },
    "have requests come to a queue of its own": {
      on: "api",
      tries: ({ attempt }) => attempt((channel) => channel.bindQueue(own, "api", "add_patient")),
    },
    "answer a request": { on: "amq.default", tries: ({ publish }) => publish("", "amq.gen-JzTY20BRgKO-HjmUJj0wLg") },
  };

  test("is refused whatever is not its part, with the broker's word for it (pitfall 115)", async ({
    vhost,
    cleanup,
  }) => {
    const registry = cleanup(await connect(vhost.url, { system, service: "patient-registry" }));
    await registry.respond(addPatient, () => patient);
    for (const service of ["scheduling", "reporting"] as const) {
      const subscriber = cleanup(await connect(vhost.url, { system, service }));
      await subscriber.subscribe(patientAdded, () => {});
    }
    const scheduling = cleanup(await bareUser(await createUser(vhost, cleanup, "scheduling")));
    const answers: Record<string, unknown> = {};
    const refusals: Record<string, unknown> = {};
    for (const [what, { on, tries }] of Object.entries(attempts)) {
      answers[what] = await tries(scheduling);
      const refusal = `403 \\(ACCESS-REFUSED\\).*access to (exchange|queue) '${on}' .*refused for user`;
      refusals[what] = expect.stringMatching(refusal);
    }
    expect(answers).toEqual(refusals);
    // The same client may do what is its part
    expect(await scheduling.publish(`${own}.failed`, `${own}.dead`)).toBe("published");
  });
});

describe("what RabbitMQ cannot restrict, as docs/security.md says:", () => {
  test("who may write to the default exchange reaches every queue", async ({ vhost, cleanup }) => {
    cleanup(await connect(vhost.url, { system, service: "patient-registry" }));
    const registry = cleanup(await bareUser(await createUser(vhost, cleanup, "patient-registry")));
    const theirs = "notify.patient.add.scheduling.dead";
    await vhost.management.declareQueue(vhost.name, theirs);
    expect(await registry.publish("", theirs)).toBe("published");
    expect(await vhost.management.getMessages(vhost.name, theirs)).toHaveLength(1);
  });

  test("who may declare may delete", async ({ vhost, cleanup }) => {
    cleanup(await connect(vhost.url, { system, service: "score-producer" }));
    const display = cleanup(await bareUser(await createUser(vhost, cleanup, "score-display")));
    await display.attempt((channel) => channel.deleteExchange("score_updates"));
    expect(await vhost.management.exchanges(vhost.name)).toEqual([]);
  });

  test("who may ask one operation of an exchange may ask all of them", async ({ vhost, cleanup }) => {
    const registry = cleanup(await connect(vhost.url, { system, service: "patient-registry" }));
    await registry.respond(getPatient, () => patient);
    const asksOne = permissionsOf(defineSystem({ "add-patient-api": { requests: [addPatient] } }))["add-patient-api"];
    const api = cleanup(await bareUser(await createUser(vhost, cleanup, "add-patient-api", asksOne)));
    using refused = recordRefusals();
    expect(await api.publish("api", "get_patient")).toBe("published");
    await expect.poll(() => refused.contracts).toEqual(["get_patient"]);
  });

  test("on 3.x everybody sees how many messages and consumers a queue has, on 4.3 whoever has any right on it", async ({
    vhost,
    broker,
    cleanup,
  }) => {
    cleanup(await connect(vhost.url, { system, service: "patient-registry" }));
    const producer = cleanup(await bareUser(await createUser(vhost, cleanup, "score-producer")));
    const seen = await producer.attempt((channel) => channel.checkQueue("notify.patient.add.reporting"));
    if (broker.version.startsWith("3.")) expect(seen).toMatchObject({ messageCount: 0, consumerCount: 0 });
    else expect(seen).toContain("ACCESS-REFUSED");
  });
});

/** Which contracts' requests the kit refuses: that they reached it. */
function recordRefusals(): Disposable & { contracts: unknown[] } {
  const contracts: unknown[] = [];
  const record = (facts: unknown): void => void contracts.push((facts as { contract: string }).contract);
  subscribe("amqp-kit:request-refused", record);
  return { contracts, [Symbol.dispose]: () => void unsubscribe("amqp-kit:request-refused", record) };
}

test("definitions.json can be imported as it is, once its users are there: then everybody works", async ({
  ownBroker,
  cleanup,
}) => {
  const { url, managementUrl, version } = ownBroker;
  const management = new Management(managementUrl ?? "");
  const file = new URL("../../../packages/contracts/definitions.json", import.meta.url);
  const { policies, ...rest } = JSON.parse(await readFile(file, "utf8"));
  const nothing = { vhost: "/", configure: "", write: "", read: "" };
  for (const user of users) await management.createUser(user, "secret", nothing);
  // 3.x refuses the policy, and needs none
  await management.importDefinitions(version.startsWith("3.") ? rest : { policies, ...rest });
  const vhost = { name: "/", url, management, close: async () => {}, [Symbol.asyncDispose]: async () => {} };
  const urlOf = (user: User): string => url.replace(/\/\/[^@]*@/, `//${user}:secret@`);
  await expect(play(["broadcast", "request", "operate"], { vhost, cleanup, urlOf })).resolves.toBeUndefined();
});
