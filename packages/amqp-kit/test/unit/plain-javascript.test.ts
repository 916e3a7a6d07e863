/** What a program without types may pass to the kit: each mistake is named, without a broker. */
import { describe, expect, test } from "vitest";
import { z } from "zod";
import { connect, ConnectionError, defineSystem, notification, UsageError } from "../../src/index.ts";
import { ServiceRoles } from "../../src/service-roles.ts";

const orderPlaced = notification("order_placed", { message: z.string() });
const system = defineSystem({ shop: { notifies: [orderPlaced] } });
const url = "amqp://127.0.0.1:1";
const plainJavaScript = (value: unknown): never => value as never;

describe("connect refuses", () => {
  test.for([
    [undefined, "it must be a string, not undefined: check that the setting it comes from is set"],
    [[undefined], "it must be a string, not undefined"],
    [null, "it must be a string, not null"],
    [5672, "it must be a string, not number"],
    [{ url }, "it must be a string, not object"],
  ] as const)("%j as the URL", async ([urls, words]) => {
    const error: unknown = await connect(plainJavaScript(urls), { system, service: "shop" }).catch((e: unknown) => e);
    expect(error).toBeInstanceOf(ConnectionError);
    expect(error).toMatchObject({ retryable: false, message: expect.stringContaining(words) });
  });

  test.for([
    [undefined, "connect: the options must be an object, not undefined."],
    [null, "connect: the options must be an object, not null."],
    ["shop", "connect: the options must be an object, not string."],
    [{ service: "shop" }, "connect: system must be what defineSystem returns, not undefined."],
    [{ system }, "connect: service must be a name of the system, not undefined."],
    [{ system, service: "till" }, 'The system has no service "till". Its services are shop.'],
    [{ system, service: "shop", tls: null }, "connect, tls: the options must be an object, not null."],
    [{ system, service: "shop", signal: 3 }, "connect: signal must be an AbortSignal, not number."],
    [{ system, service: "shop", logger: null }, "connect: logger has no method debug, info, warn, error."],
    [{ system, service: "shop", logger: { info: String } }, "connect: logger has no method debug, warn, error."],
  ] as const)("%j as options", async ([options, words]) => {
    const error: unknown = await connect(url, plainJavaScript(options)).catch((e: unknown) => e);
    expect(error).toBeInstanceOf(UsageError);
    expect(error).toMatchObject({ message: expect.stringContaining(words) });
  });
});

test.for([undefined, null])("a verb's contract that is %j is named with its role", (contract) => {
  const roles = new ServiceRoles(system, "shop");
  const words = `Service "shop", role "notifies": the contract is ${String(contract)}. Check that its module is not part of an import cycle.`;
  expect(() => roles.check("notifies", plainJavaScript(contract), String)).toThrow(new UsageError(words));
});
