/** What a stranger may put on the wire, as far as amqplib can write it and a broker takes it. */
import type { Options } from "amqplib";
import {
  type Arbitrary,
  boolean,
  constant,
  constantFrom,
  dictionary,
  double,
  integer,
  jsonValue,
  letrec,
  nat,
  oneof,
  option,
  record,
  string,
  uint8Array,
} from "fast-check";

export interface StrangeMessage {
  body: Buffer;
  properties: Options.Publish;
}

const shortText = oneof(
  string({ unit: "binary", maxLength: 20 }),
  constantFrom("__proto__", "constructor", "order-1", "\0", "\u001B[2J", "é".repeat(127), "x".repeat(255)),
);

/** Names that the kit, the broker or JavaScript acts upon, and any others. */
const headerName = oneof(
  constantFrom(
    "amqp-kit-attempt",
    "amqp-kit-first-failed-at",
    "amqp-kit-queue",
    "amqp-kit-reason",
    "amqp-kit-headers-dropped",
  ),
  constantFrom(
    "x-death",
    "x-delivery-count",
    "x-first-death-queue",
    "x-last-death-reason",
    "x-delay",
    "x-opt-anything",
  ),
  constantFrom("idempotency-key", "traceparent", "__proto__", "constructor", "toString", ""),
  string({ unit: "binary", maxLength: 30 }),
);

const { headerValue } = letrec<{ headerValue: unknown; headers: Record<string, unknown> }>((tie) => ({
  headerValue: oneof(
    { maxDepth: 3, withCrossShrink: true },
    constantFrom(null, true, false, -1, 0, 1, 2 ** 31, -(2 ** 53)),
    integer(),
    // Without the type amqplib would refuse to write those that are whole and beyond 64 bits; a broker refuses what is no number
    double({ noNaN: true, noDefaultInfinity: true }).map((value) => ({ "!": "double", value })),
    shortText,
    string({ unit: "binary", maxLength: 3_000 }),
    uint8Array({ maxLength: 100 }).map((bytes) => Buffer.from(bytes)),
    constantFrom({ "!": "timestamp", value: 4_000_000_000_000 }, { "!": "decimal", value: { digits: 7, places: 200 } }),
    tie("headers"),
    tie("headerValue").map((value) => [value, value]),
  ),
  headers: dictionary(shortText, tie("headerValue"), { maxKeys: 4 }),
}));

const headers: Arbitrary<Record<string, unknown>> = dictionary(headerName, headerValue, { maxKeys: 8 }).chain((some) =>
  // These the broker itself reads, and refuses in another shape; past 32 KiB the kit refuses the message
  constantFrom<Record<string, unknown>>(
    some,
    some,
    { ...some, CC: ["nowhere"], BCC: ["nowhere"] },
    { ...some, huge: "x".repeat(40_000) },
  ),
);

const contentType = oneof(
  { weight: 4, arbitrary: constant("application/json") },
  constantFrom(
    "application/problem+json",
    "text/plain",
    "application/json; charset=utf-16",
    'Application/JSON;charset="UTF-8"',
    ";;;",
  ),
  shortText,
);

const properties: Arbitrary<Options.Publish> = record(
  {
    contentType,
    contentEncoding: oneof({ weight: 3, arbitrary: constantFrom("", "utf-8", "gzip") }, shortText),
    headers,
    messageId: shortText,
    correlationId: shortText,
    replyTo: oneof(
      constantFrom(
        "amq.gen-gone",
        "order.placed.billing.dead",
        "amq.rabbitmq.reply-to.AAAA.BBBB",
        "amq.gen-../x",
        "quote",
      ),
      shortText.filter((name) => name !== "amq.rabbitmq.reply-to"),
    ),
    timestamp: oneof(nat(), constantFrom(0, 4_000_000_000_000, Number.MAX_SAFE_INTEGER)),
    type: shortText,
    appId: shortText,
    priority: nat(255),
    expiration: constantFrom("60000", "4294967295"),
    persistent: boolean(),
  },
  { requiredKeys: [] },
);

/** Its fields as they should be, now and then something else in the place of one, and fields that nobody asked for. */
const nearlyValid = record(
  {
    article: oneof({ weight: 8, arbitrary: constantFrom("lamp", "") }, jsonValue()),
    pieces: oneof({ weight: 8, arbitrary: integer({ min: 1, max: 9 }) }, jsonValue()),
    cents: oneof({ weight: 8, arbitrary: nat(999) }, jsonValue()),
    orderId: oneof({ weight: 8, arbitrary: constant("order-1") }, jsonValue()),
    code: oneof(constantFrom("sold_out", "invalid_message", "constructor"), jsonValue()),
    details: jsonValue(),
    errors: jsonValue(),
  },
  { requiredKeys: ["article", "pieces", "cents", "orderId"] },
);

const body = oneof(
  { weight: 6, arbitrary: nearlyValid.map((value) => Buffer.from(JSON.stringify(value))) },
  { weight: 2, arbitrary: jsonValue().map((value) => Buffer.from(JSON.stringify(value))) },
  { weight: 2, arbitrary: uint8Array({ maxLength: 500 }).map((bytes) => Buffer.from(bytes)) },
  { weight: 1, arbitrary: string({ unit: "binary", maxLength: 200 }).map((text) => Buffer.from(text)) },
  {
    weight: 1,
    arbitrary: constantFrom("lamp 1999", "[".repeat(50_000), `{"article":"${"x".repeat(1_100_000)}"}`).map((text) =>
      Buffer.from(text),
    ),
  },
);

export const strangeMessage: Arbitrary<StrangeMessage> = record({ body, properties: option(properties, { nil: {} }) });
