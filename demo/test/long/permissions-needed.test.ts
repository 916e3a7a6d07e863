import { subscribe, unsubscribe } from "node:diagnostics_channel";
import { readFile } from "node:fs/promises";
import { addPatient, getPatient, system } from "@amqp-idioms/contracts";
import { Management } from "@amqp-idioms/local-servers";
import { test } from "@amqp-idioms/local-servers/vitest";
import { connect, defineSystem } from "amqp-kit";
import { permissionsOf } from "amqp-kit/derive";
import { describe, expect } from "vitest";
import { exchangesOf, patient, runExchanges, type User } from "../exchanges.ts";
import { bareUser } from "../peers/bare-user.ts";
import { createUser, permissions, users } from "../users.ts";

const rights = ["configure", "write", "read"] as const;

test("amqp-kit dead works under a user that has only the permissions derived from the system", async ({
  vhost,
  cleanup,
}) => {
  const operator = await createUser(vhost, cleanup, "operator");
  const urlOf = (user: User): string => (user === "operator" ? operator : vhost.url);
  await expect(runExchanges(["operate"], { vhost, cleanup, urlOf })).resolves.toBeUndefined();
});

/** Each alternative of a pattern, with the pattern that remains without it. */
function withoutOne(pattern: string): { alternative: string; rest: string }[] {
  const alternatives = pattern.replace(/^\^\(?|\)?\$$/g, "").split("|");
  return alternatives
    .filter((alternative) => alternative !== "")
    .map((alternative) => {
      const others = alternatives.filter((other) => other !== alternative);
      return { alternative, rest: `^(${others.join("|")})$` };
    });
}

describe.concurrent("Each derived permission is needed:", () => {
  const cases = users.flatMap((user) =>
    rights.flatMap((right) => withoutOne(permissions[user][right]).map((one) => ({ user, right, ...one }))),
  );
  test.for(cases)("$user cannot do without $right on $alternative", async (one, { vhost, broker, cleanup, expect }) => {
    const { user, right, alternative, rest } = one;
    const url = await createUser(vhost, cleanup, user, { ...permissions[user], [right]: rest });
    const running = runExchanges(exchangesOf[user], {
      vhost,
      cleanup,
      urlOf: (other) => (other === user ? url : vhost.url),
    });
    // Before RabbitMQ 4 every user sees whether a queue has consumers
    const isForChecking = user === "add-patient-api" && right === "write" && alternative !== "api";
    if (isForChecking && broker.version.startsWith("3.")) await expect(running).resolves.toBeUndefined();
    // A broadcast is not confirmed, and a requester cannot learn that the broker refused the reply
    else await expect(running).rejects.toThrow(/ACCESS_REFUSED|messages dropped|No answer to/);
  });
});

describe("RabbitMQ cannot restrict these, as docs/security.md says:", () => {
  test("a user that may write to the default exchange reaches every queue", async ({ vhost, cleanup }) => {
    cleanup(await connect(vhost.url, { system, service: "patient-registry" }));
    const registry = cleanup(await bareUser(await createUser(vhost, cleanup, "patient-registry")));
    const theirs = "notify.patient.add.scheduling.dead";
    await vhost.management.declareQueue(vhost.name, theirs);
    expect(await registry.publish("", theirs)).toBe("published");
    expect(await vhost.management.getMessages(vhost.name, theirs)).toHaveLength(1);
  });

  test("a user that may declare an exchange may delete it", async ({ vhost, cleanup }) => {
    cleanup(await connect(vhost.url, { system, service: "score-producer" }));
    const display = cleanup(await bareUser(await createUser(vhost, cleanup, "score-display")));
    await display.attempt((channel) => channel.deleteExchange("score_updates"));
    expect(await vhost.management.exchanges(vhost.name)).toEqual([]);
  });

  test("a user that may request one operation of an exchange may request all of them", async ({ vhost, cleanup }) => {
    const registry = cleanup(await connect(vhost.url, { system, service: "patient-registry" }));
    await registry.respond(getPatient, () => patient);
    const requestsOne = permissionsOf(defineSystem({ "add-patient-api": { requests: [addPatient] } }))[
      "add-patient-api"
    ];
    const api = cleanup(await bareUser(await createUser(vhost, cleanup, "add-patient-api", requestsOne)));
    using refused = recordRefusals();
    expect(await api.publish("api", "get_patient")).toBe("published");
    await expect.poll(() => refused.contracts).toEqual(["get_patient"]);
  });

  test("on 3.x every user sees how many messages and consumers a queue has, on 4.3 only a user with a permission on it", async ({
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

/** Records the contract of each request that the kit refuses, which shows that the request reached it. */
function recordRefusals(): Disposable & { contracts: unknown[] } {
  const contracts: unknown[] = [];
  const record = (facts: unknown): void => void contracts.push((facts as { contract: string }).contract);
  subscribe("amqp-kit:request-refused", record);
  return { contracts, [Symbol.dispose]: () => void unsubscribe("amqp-kit:request-refused", record) };
}

test("After an import of definitions.json, every service and the operator work under their users", async ({
  ownBroker,
  cleanup,
}) => {
  const { url, managementUrl, version } = ownBroker;
  const management = new Management(managementUrl ?? "");
  const file = new URL("../../../packages/contracts/definitions.json", import.meta.url);
  const { policies, ...rest } = JSON.parse(await readFile(file, "utf8"));
  const noPermissions = { vhost: "/", configure: "", write: "", read: "" };
  for (const user of users) await management.createUser(user, "secret", noPermissions);
  // 3.x refuses the policy, and does not need it
  await management.importDefinitions(version.startsWith("3.") ? rest : { policies, ...rest });
  const vhost = { name: "/", url, management, close: async () => {}, [Symbol.asyncDispose]: async () => {} };
  const urlOf = (user: User): string => url.replace(/\/\/[^@]*@/, `//${user}:secret@`);
  await expect(runExchanges(["broadcast", "request", "operate"], { vhost, cleanup, urlOf })).resolves.toBeUndefined();
});
