/** Bodies and properties on their way to the wire and back, without a broker. */
import type { Message } from "amqplib";
import { anything, assert, jsonValue, property, uint8Array } from "fast-check";
import { describe, expect, test } from "vitest";
import { z } from "zod";
import { broadcast } from "../../src/contract.ts";
import type { Decoders, Schema } from "../../src/contract.ts";
import { AmqpKitError, InvalidMessageError, MessageTooLargeError, UsageError } from "../../src/errors.ts";
import { decode } from "../../src/messages/decode.ts";
import { deliveryOf } from "../../src/messages/delivery.ts";
import { encode } from "../../src/messages/encode.ts";
import { maxBodyBytes, maxHeaderBytes } from "../../src/messages/limits.ts";
import { messageIdOf, propertiesOf, shortString } from "../../src/messages/properties.ts";

const Order = z.object({ article: z.string(), pieces: z.int().positive() });
const lamp = { article: "lamp", pieces: 2 };

/** A message as amqplib hands it over: properties that the sender left out are undefined. */
function received(body: string | Buffer, properties: Record<string, unknown> = {}): Message {
  return {
    content: Buffer.from(body),
    fields: { deliveryTag: 1, redelivered: false, exchange: "", routingKey: "", consumerTag: "" },
    properties: { contentType: "application/json", headers: {}, ...properties },
  } as Message;
}

function bodyOf(bytes: number): Buffer {
  return Buffer.from(`"${"x".repeat(bytes - 2)}"`);
}

/** A table's length, a name of four letters with its length, a text's type and length, and the text. */
function headersOf(bytes: number): Record<string, unknown> {
  return { headers: { text: "x".repeat(bytes - 15) } };
}

function read(body: string | Buffer, properties: Record<string, unknown> = {}, decoders: Decoders = {}): unknown {
  return decode("order", Order, decoders, received(body, properties));
}

/** @returns the error's sentence */
function refused(action: () => unknown): string {
  try {
    action();
  } catch (error) {
    if (error instanceof AmqpKitError) return error.message;
    throw error;
  }
  return "was not refused";
}

const signal = new AbortController().signal;

describe("a message that is sent", () => {
  test("is UTF-8 JSON of what the schema returned, so that unknown fields stay at home", () => {
    expect(encode("order", Order, { ...lamp, article: "Lämpchen 💡", secret: 1 } as typeof lamp).toString()).toBe(
      '{"article":"Lämpchen 💡","pieces":2}',
    );
  });

  test("carries its id, the contract's name, the service and the time in seconds (pitfall 46)", () => {
    const properties = propertiesOf(broadcast("order", { message: Order }), "shop", "id-1");
    expect(properties).toEqual({
      contentType: "application/json",
      messageId: "id-1",
      timestamp: expect.any(Number),
      type: "order",
      appId: "shop",
    });
    expect(Math.abs(Number(properties.timestamp) * 1000 - Date.now())).toBeLessThan(5_000);
  });

  test("is refused with the field and the rule that it breaks, never with its value", () => {
    const message = refused(() => encode("order", Order, { article: "Secret Name", pieces: -1 }));
    expect(message).toMatch(/^Message of "order" is not valid: pieces: /);
    expect(message).not.toContain("Secret Name");
  });

  test("is refused when it has no JSON form", () => {
    const circle: unknown[] = [];
    circle.push(circle);
    for (const value of [undefined, 1n, () => 1, Symbol("x"), circle]) {
      const error = refused(() => encode("order", z.unknown(), value));
      expect(error).toBe('Message of "order" is not valid: has no JSON form.');
    }
  });

  test("takes up to 1 MiB of body, in bytes rather than letters; one more is refused, with size and limit", () => {
    const fits = "é".repeat((maxBodyBytes - 2) / 2);
    expect(encode("order", z.string(), fits)).toHaveLength(1_048_576);
    const error = expect.objectContaining({ bytes: 1_048_577, maxBytes: 1_048_576, contract: "order" });
    expect(() => encode("order", z.string(), `${fits}x`)).toThrow(error);
    expect(refused(() => encode("order", z.string(), `${fits}x`))).toBe(
      'The body of a message of "order" takes 1048577 bytes; the limit is 1048576. Send a reference to the data instead.',
    );
  });

  test.for(["", "x".repeat(256), "é".repeat(128), 7 as never, null as never])(
    "cannot have %j as an id: an AMQP short string takes 1 to 255 bytes",
    (id) => {
      expect(() => messageIdOf(id)).toThrow(UsageError);
      expect(() => shortString("idempotencyKey", id)).toThrow("idempotencyKey must be a string of 1 to 255 bytes.");
    },
  );

  test("gets an id of its own where none is given", () => {
    expect(messageIdOf("x".repeat(255))).toHaveLength(255);
    expect(messageIdOf(undefined)).toMatch(/^[0-9a-f-]{36}$/);
    expect(messageIdOf(undefined)).not.toBe(messageIdOf(undefined));
  });
});

describe("a message that arrives", () => {
  test("is read back as it was sent: any JSON value, or a typed error (pitfall 121)", () => {
    assert(
      property(jsonValue({ maxDepth: 5 }), (value) => {
        const sent = encode("any", z.unknown(), value);
        const back = decode("any", z.unknown(), {}, received(sent));
        // -0 has no JSON form, and own properties named __proto__ fall away
        expect(JSON.stringify(back)).toBe(JSON.stringify(withoutProto(value)));
      }),
    );
    assert(
      property(anything({ withBigInt: true, withDate: true, withMap: true }), (value) => {
        const outcome = refused(() => decode("any", z.unknown(), {}, received(encode("any", z.unknown(), value))));
        expect(outcome).toMatch(/^was not refused$|has no JSON form/);
      }),
    );
  });

  test("is read whatever bytes it has, or refused with a typed error", () => {
    assert(
      property(uint8Array({ maxLength: 64 }), (bytes) => {
        expect(() => read(Buffer.from(bytes))).toThrow(InvalidMessageError);
      }),
    );
  });

  test("is refused with its path alone where the sentences of the schema's library quote values", () => {
    const quoting: Schema = {
      "~standard": {
        version: 1,
        vendor: "some-library",
        validate: (value: unknown) => ({
          issues: [{ message: `Invalid: received ${JSON.stringify(value)}`, path: ["pieces"] }],
        }),
      },
    };
    const decodeQuoting = (): unknown => decode("order", quoting, {}, received('"Zephyrine"'));
    expect(refused(decodeQuoting)).toBe('Message of "order" is not valid: pieces: does not match its schema.');
  });

  test("may have fields that only a newer sender knows, or lack those that it made optional (pitfall 122)", () => {
    const NewerOrder = Order.extend({ colour: z.string().optional() });
    const fromNewer = encode("order", NewerOrder, { ...lamp, colour: "red" });
    expect(decode("order", Order, {}, received(fromNewer))).toEqual(lamp);
    const fromOlder = encode("order", Order, lamp);
    expect(decode("order", NewerOrder, {}, received(fromOlder))).toEqual(lamp);
  });

  test.for([
    "application/json",
    "Application/JSON",
    "application/json; charset=utf-8",
    'application/json;charset="UTF-8"',
    "application/json; charset=utf8",
    "application/json; charset=us-ascii",
    "application/json; profile=x",
    "",
    undefined,
  ])("is JSON under the content type %j", (contentType) => {
    expect(read(JSON.stringify(lamp), { contentType })).toEqual(lamp);
  });

  test.for(["", "identity", "utf-8", "UTF-8", "utf8", undefined])(
    "is read under the content_encoding %j",
    (encoding) => {
      expect(read(JSON.stringify(lamp), { contentEncoding: encoding })).toEqual(lamp);
    },
  );

  test("is read by the contract's decoder for its content type, which without one is text/plain", () => {
    const decoders: Decoders = {
      "text/plain": (text, { sentAt }) => ({ article: text, pieces: sentAt?.getUTCFullYear() ?? 1 }),
    };
    const timestamp = Date.UTC(2009, 5) / 1000;
    expect(read("lamp", { contentType: "text/plain", timestamp }, decoders)).toEqual({ article: "lamp", pieces: 2009 });
    expect(read("lamp", { contentType: undefined }, decoders)).toEqual({ article: "lamp", pieces: 1 });
    expect(read(JSON.stringify(lamp), {}, decoders)).toEqual(lamp);
    const failing: Decoders = { "text/plain": () => expect.fail("the first line must be an article") };
    expect(refused(() => read("lamp", { contentType: "text/plain" }, failing))).toContain("the first line must be");
  });

  test.for([
    ["an empty body", "", {}, "its body is empty"],
    ["bytes that are not UTF-8", Buffer.from([0x22, 0xff, 0x22]), {}, "its body is not UTF-8"],
    ["broken JSON", '{"article":"lamp"', {}, "its body is not JSON"],
    ["another content type", "<lamp/>", { contentType: "text/xml" }, "its content type is not application/json"],
    ["text without a decoder", "lamp", { contentType: "text/plain" }, "its content type is not application/json"],
    ["a content type that is an object's", "lamp", { contentType: "__proto__" }, "its content type is not"],
    ["a content type that is no text", "lamp", { contentType: 7 }, "its content type is not application/json"],
    ["another charset", "{}", { contentType: "application/json; charset=latin1" }, "its charset is not UTF-8"],
    ["compression", "{}", { contentEncoding: "gzip" }, "its content_encoding is not supported"],
    ["a schema violation", '{"article":7,"pieces":1}', {}, "article: "],
    ["no object at all", "null", {}, "expected object"],
  ] as const)("is refused for %s", ([, body, properties, rule]) => {
    expect(refused(() => read(body, properties))).toContain(rule);
  });

  test("takes up to 1 MiB of body and 32 KiB of headers; one byte more of either is refused", () => {
    expect(decode("text", z.string(), {}, received(bodyOf(maxBodyBytes)))).toHaveLength(maxBodyBytes - 2);
    expect(() => decode("text", z.string(), {}, received(bodyOf(maxBodyBytes + 1)))).toThrow("the limit is 1048576");
    expect(decode("text", z.string(), {}, received('""', headersOf(maxHeaderBytes)))).toBe("");
    expect(() => decode("text", z.string(), {}, received('""', headersOf(maxHeaderBytes + 1)))).toThrow(
      "takes 32769 bytes",
    );
  });

  test("over the limit is refused unparsed: JSON and schema never see it", () => {
    const unread = z.unknown().refine(() => expect.fail("was validated"));
    const tooLarge = received(Buffer.alloc(maxBodyBytes + 1, "["));
    expect(() => decode("order", unread, {}, tooLarge)).toThrow(MessageTooLargeError);
    const headers = { text: "x".repeat(maxHeaderBytes) };
    expect(() => decode("order", unread, {}, received("{}", { headers }))).toThrow(
      /^The headers of a message of "order" takes? \d+ bytes; the limit is 32768/,
    );
    const nested = { list: [[{ deep: Buffer.alloc(maxHeaderBytes) }]] };
    expect(() => decode("order", unread, {}, received("{}", { headers: nested }))).toThrow(MessageTooLargeError);
  });

  test.for([
    '{"article":"lamp","pieces":2,"__proto__":{"isAdmin":true}}',
    '{"article":"lamp","pieces":2,"\\u005f_proto__":{"isAdmin":true}}',
    '{"article":"lamp","pieces":2,"constructor":{"prototype":{"isAdmin":true}}}',
  ])("gives nothing a prototype: %s (pitfall 121)", (body) => {
    const passedOn = decode("order", z.looseObject({}), {}, received(body));
    expect(Object.keys(passedOn)).not.toContain("__proto__");
    expect(Object.assign({}, passedOn)).not.toHaveProperty("isAdmin");
    expect({}).not.toHaveProperty("isAdmin");
    expect(read(body)).toEqual(lamp);
  });

  test("nested a hundred thousand deep is refused like any other, also by a recursive schema", () => {
    const deep = `${"[".repeat(100_000)}${"]".repeat(100_000)}`;
    const anyJson = received(deep);
    expect(refused(() => decode("any", z.json(), {}, anyJson))).toBe(
      'Message of "any" is not valid: its schema is asynchronous, or throws.',
    );
    expect(refused(() => read(deep))).toContain("expected object");
    expect(refused(() => read(`["\\u0041",${deep}]`))).toContain("is not valid");
  });

  test("that breaks its schema in a hundred thousand places makes an error of bounded size", () => {
    const error = catchError(() => decode("list", z.array(z.string()), {}, received(`[0${",0".repeat(99_999)}]`)));
    expect(error.issues).toHaveLength(100);
    expect(error.message).toMatch(/; and 95 more\.$/);
    const key = "x".repeat(500_000);
    const named = catchError(() => decode("named", z.record(z.string(), z.int()), {}, received(`{"${key}":""}`)));
    expect(named.message.length).toBeLessThan(1_000);
  });

  test("is not judged by an asynchronous schema", () => {
    const asynchronous = z.string().refine(() => Promise.resolve(true));
    expect(refused(() => decode("order", asynchronous, {}, received('"lamp"')))).toContain(
      "its schema is asynchronous, or throws",
    );
    expect(refused(() => encode("order", asynchronous, "lamp"))).toContain("its schema is asynchronous, or throws");
  });
});

describe("what a handler learns of a delivery", () => {
  test("is what the sender wrote, less what cannot be true (pitfall 118)", () => {
    const properties = {
      messageId: "id-1",
      timestamp: 1_700_000_000,
      appId: "shop",
      headers: { "idempotency-key": "key-1", "amqp-kit-attempt": 3 },
    };
    expect(deliveryOf(received("{}", properties), signal)).toMatchObject({
      messageId: "id-1",
      idempotencyKey: "key-1",
      sentAt: new Date("2023-11-14T22:13:20Z"),
      appId: "shop",
      redelivered: false,
      // That is the kit's to count
      attempt: 1,
    });
    expect(deliveryOf(received("{}", properties), signal, 4).attempt).toBe(4);
    expect(deliveryOf(received("{}", { headers: undefined }), signal)).toMatchObject({
      messageId: undefined,
      idempotencyKey: undefined,
      sentAt: undefined,
      attempt: 1,
      headers: {},
    });
  });

  test("has the message id as its idempotency key where the header is absent or absurd", () => {
    for (const key of [undefined, "", 7, { a: 1 }, "x".repeat(256), Buffer.from("key")]) {
      const headers = { "idempotency-key": key };
      expect(deliveryOf(received("{}", { messageId: "id-1", headers }), signal).idempotencyKey).toBe("id-1");
    }
  });

  test("has no time where the timestamp is in milliseconds, or absurd (pitfall 46)", () => {
    for (const timestamp of [0, -1, Date.now(), Number.MAX_SAFE_INTEGER, Number.NaN, "now"]) {
      expect(deliveryOf(received("{}", { timestamp }), signal).sentAt).toBeUndefined();
    }
  });
});

function catchError(action: () => unknown): InvalidMessageError {
  try {
    action();
  } catch (error) {
    if (error instanceof InvalidMessageError) return error;
    throw error;
  }
  throw new Error("nothing was refused");
}

function withoutProto(value: unknown): unknown {
  return JSON.parse(JSON.stringify(value), (key, item: unknown) => (key === "__proto__" ? undefined : item));
}
