/** Contracts as plain data: what a declaration fills in, and what it refuses at once rather than on the wire. */
import { describe, expect, test } from "vitest";
import { z } from "zod";
import { broadcast, defineSystem, notification, operation } from "../../src/contract.ts";

const message = z.object({ article: z.string() });
const asked = { exchange: "shop", request: message, response: message, timeoutMs: 1_000 };
/** What a program in plain JavaScript may hand over, past the types. */
const plainJavaScript = (value: unknown): never => value as never;

describe("a declaration", () => {
  test("is plain data with its defaults filled in", () => {
    expect(broadcast("prices", { message })).toEqual({ kind: "broadcast", name: "prices", message, decoders: {} });
    expect(notification("order.placed", { message })).toMatchObject({ kind: "notification", name: "order.placed" });
    expect(operation("quote", asked)).toEqual({
      kind: "operation",
      name: "quote",
      ...asked,
      errors: {},
      requestQueue: "durable",
      decoders: {},
    });
  });

  test.for(["", " ", "a b", "ä", "amq.fanout", "a/b", "a*", "#", "-a", "x".repeat(101), "a\n", undefined, 7])(
    "refuses %j as a name: AMQP or a permission pattern cannot carry it",
    (name) => {
      expect(() => broadcast(plainJavaScript(name), { message })).toThrow(TypeError);
      expect(() => notification(plainJavaScript(name), { message })).toThrow("cannot name an exchange");
      expect(() => operation(plainJavaScript(name), asked)).toThrow("cannot name an exchange");
      expect(() => operation("quote", { ...asked, exchange: plainJavaScript(name) })).toThrow(TypeError);
    },
  );

  test("takes names up to 100 letters, so that the name of each queue derived from it fits AMQP's 255 bytes", () => {
    const name = "x".repeat(100);
    expect(notification(name, { message }).name).toBe(name);
    expect(Buffer.byteLength(`${name}.${name}.delay.${2 ** 31 - 1}`)).toBeLessThan(255);
  });

  test.for([0, -1, 1.5, Number.NaN, Infinity, 2 ** 31, "1000", undefined])(
    "refuses %j as a time limit: a timer would fire at once, or never",
    (timeoutMs) => {
      expect(() => operation("quote", { ...asked, timeoutMs: plainJavaScript(timeoutMs) })).toThrow(
        'operation("quote"): timeoutMs must be a whole number of milliseconds from 1 to 2147483647',
      );
    },
  );

  test("refuses an option that it does not know, naming those that it does", () => {
    expect(() => broadcast("prices", plainJavaScript({ message, decoder: {} }))).toThrow(
      'broadcast("prices"): unknown option decoder. Known are message, decoders.',
    );
    expect(() => notification("order", plainJavaScript({ message, retries: 3 }))).toThrow("unknown option retries");
    expect(() => operation("quote", plainJavaScript({ ...asked, timeout: 3 }))).toThrow("unknown option timeout");
  });

  test.for([undefined, null, "string", {}, { type: "object" }])("refuses %j as a schema", (schema) => {
    expect(() => broadcast("prices", { message: plainJavaScript(schema) })).toThrow(
      'broadcast("prices"): message must be a Standard Schema',
    );
    expect(() => notification("order", { message: plainJavaScript(schema) })).toThrow(TypeError);
    expect(() => operation("quote", { ...asked, request: plainJavaScript(schema) })).toThrow("request must be");
    expect(() => operation("quote", { ...asked, response: plainJavaScript(schema) })).toThrow("response must be");
    expect(() => operation("quote", { ...asked, errors: { gone: plainJavaScript(schema) } })).toThrow('error "gone"');
  });

  test.for(["invalid_message", "message_too_large", "response_too_large", "invalid_response", "internal_error"])(
    "refuses a declared error named %s: a requester could not tell it from the kit's own",
    (name) => {
      expect(() => operation("quote", { ...asked, errors: { [name]: message } })).toThrow(
        `operation("quote"): the kit itself answers "${name}"`,
      );
    },
  );

  test.for(["", "sold out", "1st", "__proto__", "sold-out", "x".repeat(101)])(
    "refuses %j as the name of an error",
    (name) => {
      const errors = Object.fromEntries([[name, message]]);
      expect(() => operation("quote", { ...asked, errors })).toThrow("cannot name an error");
    },
  );

  test.for(["Text/Plain", "text/plain; charset=utf-8", "text", "*/*"])(
    "refuses a decoder for %j, which no message's content type would ever match",
    (type) => {
      expect(() => broadcast("prices", { message, decoders: { [type]: String } })).toThrow("lower case");
    },
  );
});

describe("a system", () => {
  const prices = broadcast("prices", { message });
  const orderPlaced = notification("order_placed", { message });
  const quote = operation("quote", asked);

  test("is what was declared, unchanged", () => {
    const roles = { shop: { listens: [prices], notifies: [orderPlaced] }, warehouse: { responds: [quote] } };
    expect(defineSystem(roles)).toBe(roles);
  });

  test("refuses a role that it does not know, naming those that it does", () => {
    expect(() => defineSystem({ shop: plainJavaScript({ listen: [prices] }) })).toThrow(
      'System: "shop" has an unknown role "listen". Roles are broadcasts, listens, notifies, subscribes, requests, responds.',
    );
  });

  test("refuses a contract under a role of another idiom", () => {
    expect(() => defineSystem({ shop: { listens: [plainJavaScript(orderPlaced)] } })).toThrow(
      'System: "shop" listens "order_placed", which is a notification, not a broadcast.',
    );
  });

  test("refuses two contracts of one name, also when they say the same", () => {
    const again = broadcast("prices", { message });
    expect(() => defineSystem({ market: { broadcasts: [prices] }, board: { listens: [again] } })).toThrow(
      'two contracts claim the name "prices"',
    );
  });

  test.for([
    {
      what: "an operation and a subscription",
      system: {
        till: { responds: [operation("r.b", { ...asked, exchange: "api" })] },
        b: { subscribes: [notification("r", { message })] },
      },
    },
    {
      what: "two subscriptions",
      system: {
        "add.sched": { subscribes: [notification("p", { message })] },
        sched: { subscribes: [notification("p.add", { message })] },
      },
    },
    {
      what: "a subscription and another's dead letters",
      system: { b: { subscribes: [orderPlaced] }, "b.dead": { subscribes: [orderPlaced] } },
    },
    {
      what: "a subscription and another's delays",
      system: { b: { subscribes: [orderPlaced] }, "b.delay.1000": { subscribes: [orderPlaced] } },
    },
  ])("refuses one queue for $what: each would take the other's messages", ({ system }) => {
    expect(() => defineSystem(system)).toThrow(/the queue "[^"]+"/);
  });

  test("refuses two idioms on one exchange, whose flags differ", () => {
    const onPrices = operation("quote", { ...asked, exchange: "prices" });
    expect(() => defineSystem({ market: { broadcasts: [prices], responds: [onPrices] } })).toThrow(
      'System: broadcast "prices" and operation "quote" claim the same exchange "prices".',
    );
    const restock = operation("restock", asked);
    expect(() => defineSystem({ shop: { requests: [quote, restock] } })).not.toThrow();
  });

  test.for([
    [undefined, "System: it must be an object of services, not undefined."],
    [{ shop: undefined }, 'System: the roles of "shop" must be an object, not undefined.'],
    [{ shop: [prices] }, 'System: the roles of "shop" must be an object, not an array.'],
    [{ shop: { listens: undefined } }, 'System: "shop" listens must be a list of contracts, not undefined.'],
    [{ shop: { listens: prices } }, 'System: "shop" listens must be a list of contracts, not object.'],
    [{ shop: { listens: ["prices"] } }, 'System: "shop" listens: item 0 must be a contract, not string.'],
    [{ shop: { listens: [prices, null] } }, 'System: "shop" listens: item 1 must be a contract, not null.'],
    [
      { shop: { listens: [undefined] } },
      'System: "shop" listens: item 0 must be a contract, not undefined. Check that its module is not part of an import cycle.',
    ],
  ] as const)("refuses %j in words", ([system, words]) => {
    expect(() => defineSystem(plainJavaScript(system))).toThrow(new TypeError(words));
  });

  test("refuses a declaration without options in words", () => {
    const words = "the options must be an object, not undefined";
    expect(() => broadcast("prices", plainJavaScript(undefined))).toThrow(words);
    expect(() => notification("order", plainJavaScript(undefined))).toThrow(words);
    expect(() => operation("quote", plainJavaScript(undefined))).toThrow(words);
  });

  test("refuses a service's name that cannot be part of a queue's", () => {
    expect(() => defineSystem({ "the shop": {} })).toThrow('"the shop" cannot name');
  });
});
