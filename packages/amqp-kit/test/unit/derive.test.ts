/** Derived permissions of any system. `demo/test/servers/permissions.test.ts` shows that they suffice, `demo/test/long/permissions-needed.test.ts` that each is needed. */
import { describe, expect, test } from "vitest";
import { z } from "zod";
import { broadcast, defineSystem, notification, operation } from "../../src/contract.ts";
import { definitionsOf, operatorPermissions, permissionsOf } from "../../src/derive/permissions.ts";
import { system } from "../contracts.ts";

const nothing = { configure: "^$", write: "^$", read: "^$" };
const message = z.string();

describe("the derived permissions", () => {
  test("are those of each role, and of all roles of a service together", () => {
    const ownQueue = "amq\\.gen-[A-Za-z0-9_-]+";
    const billing = "order\\.placed\\.billing";
    expect(permissionsOf(system)).toMatchObject({
      market: { configure: "^prices$", write: "^prices$", read: "^$" },
      board: { configure: `^(${ownQueue}|prices)$`, write: `^${ownQueue}$`, read: `^(${ownQueue}|prices)$` },
      till: {
        configure: `^(${ownQueue}|order\\.placed|${billing}|order\\.placed\\.shipping)$`,
        write: `^(order\\.placed|${billing}|order\\.placed\\.shipping|quote|shop)$`,
        read: `^(${ownQueue}|order\\.placed)$`,
      },
      billing: {
        configure: `^(${billing}|${billing}\\.dead|${billing}\\.delay\\.[0-9]+|${billing}\\.failed)$`,
        write: `^(${billing}|${billing}\\.dead|${billing}\\.delay\\.[0-9]+|${billing}\\.failed)$`,
        read: `^(order\\.placed|${billing}|${billing}\\.delay\\.[0-9]+|${billing}\\.failed)$`,
      },
      warehouse: { configure: "^(quote|shop)$", write: "^(amq\\.default|quote)$", read: "^(quote|shop)$" },
    });
    expect(operatorPermissions(system)).toEqual({
      configure: "^$",
      write: `^(${billing}\\.failed|order\\.placed\\.shipping\\.failed)$`,
      read: `^(${billing}\\.dead|order\\.placed\\.shipping\\.dead)$`,
    });
  });

  test("are none where there is no role, and no operator's where nobody subscribes", () => {
    const idle = defineSystem({ idle: {}, market: { broadcasts: [broadcast("prices", { message })] } });
    expect(permissionsOf(idle).idle).toEqual(nothing);
    expect(operatorPermissions(idle)).toEqual(nothing);
    expect(definitionsOf(idle, { virtualHost: "/" }).policies).toEqual([]);
  });

  test("fit whole names only, and a dot is a dot", () => {
    const { write } = permissionsOf(system).billing;
    const may = (name: string): boolean => new RegExp(write).test(name);
    expect(["order.placed.billing", "order.placed.billing.delay.100"].filter(may)).toHaveLength(2);
    const others = ["orderXplaced.billing", "order.placed.billing2", "my.order.placed.billing", "order.placed", ""];
    expect(others.filter(may)).toEqual([]);
  });

  test("name each thing once, and do not depend on the order of services and contracts", () => {
    const one = operation("one", { exchange: "api", request: message, response: message, timeoutMs: 1 });
    const two = operation("two", { exchange: "api", request: message, response: message, timeoutMs: 1 });
    const told = notification("told", { message });
    const there = defineSystem({
      a: { responds: [one, two], notifies: [told] },
      b: { subscribes: [told] },
      c: { subscribes: [told] },
    });
    const back = defineSystem({
      c: { subscribes: [told] },
      b: { subscribes: [told] },
      a: { notifies: [told], responds: [two, one] },
    });
    expect(permissionsOf(there)).toEqual(permissionsOf(back));
    expect(permissionsOf(there).a.read).toBe("^(api|one|told|two)$");
  });
});

describe("the definitions that are derived", () => {
  test("give the virtual host, a user's rights each, and the policy of the dead queues", () => {
    const { vhosts, permissions, policies } = definitionsOf(system, { virtualHost: "shop" });
    expect(vhosts).toEqual([{ name: "shop" }]);
    expect(permissions.map(({ user }) => user)).toEqual([...Object.keys(system), "operator"]);
    expect(permissions[0]).toEqual({ user: "market", vhost: "shop", ...permissionsOf(system).market });
    expect(permissions.at(-1)).toEqual({ user: "operator", vhost: "shop", ...operatorPermissions(system) });
    expect(policies).toMatchObject([
      { vhost: "shop", pattern: "^(order\\.placed\\.billing\\.dead|order\\.placed\\.shipping\\.dead)$" },
    ]);
  });

  test("refuse a service that would share its user with the operator", () => {
    const confusing = defineSystem({ operator: {} });
    expect(() => definitionsOf(confusing, { virtualHost: "/" })).toThrow('a service cannot be called "operator"');
  });
});
