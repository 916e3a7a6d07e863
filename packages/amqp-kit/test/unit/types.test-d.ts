/** What the compiler holds against a user of the kit: verbs without a role, contracts not listed, misspelt roles, wrong messages. */
import { describe, expectTypeOf, test } from "vitest";
import { z } from "zod";
import {
  type Amqp,
  OperationError,
  broadcast,
  connect,
  defineSystem,
  notification,
  operation,
} from "../../src/index.ts";
import type { AmqpKitError, Delivery } from "../../src/index.ts";

const Article = z.object({ article: z.string() });
const prices = broadcast("prices", { message: Article.extend({ cents: z.int() }) });
const sales = broadcast("sales", { message: Article.extend({ cents: z.int() }) });
const orderPlaced = notification("order_placed", { message: Article.extend({ pieces: z.int() }) });
const orderPaid = notification("order_paid", { message: Article.extend({ pieces: z.int() }) });
const quote = operation("quote", {
  exchange: "shop",
  timeoutMs: 1_000,
  // In and out differ: a requester may leave `pieces` out, a handler always has it
  request: Article.extend({ pieces: z.int().default(1) }),
  response: z.object({ cents: z.int() }),
  errors: { sold_out: Article, too_many: z.object({ most: z.int() }) },
});
const restock = operation("restock", {
  exchange: "shop",
  timeoutMs: 1_000,
  request: Article,
  response: z.object({}),
});

const system = defineSystem({
  shop: { listens: [prices, sales], notifies: [orderPlaced], requests: [quote] },
  warehouse: { broadcasts: [prices], subscribes: [orderPlaced], responds: [quote] },
  auditor: {},
});
type System = typeof system;
declare const shop: Amqp<System["shop"]>;
declare const warehouse: Amqp<System["warehouse"]>;
declare const auditor: Amqp<System["auditor"]>;
declare const error: unknown;

describe("the verbs of a service", () => {
  test("are those of its roles, and no others", () => {
    expectTypeOf<keyof Amqp<System["shop"]>>().toEqualTypeOf<
      "listen" | "notify" | "request" | "isReady" | "close" | typeof Symbol.asyncDispose
    >();
    expectTypeOf<keyof Amqp<System["warehouse"]>>().toEqualTypeOf<
      "broadcast" | "subscribe" | "respond" | "isReady" | "close" | typeof Symbol.asyncDispose
    >();
    expectTypeOf<keyof Amqp<System["auditor"]>>().toEqualTypeOf<"isReady" | "close" | typeof Symbol.asyncDispose>();
    // @ts-expect-error: the shop has no role that responds
    void shop.respond;
    // @ts-expect-error: the warehouse has no role that requests
    void warehouse.request;
    // @ts-expect-error: the auditor has no role at all
    void auditor.listen;
  });

  test("come typed out of connect: nothing is any", async () => {
    const connected = await connect("amqp://localhost", { system, service: "shop" });
    expectTypeOf(connected).not.toBeAny();
    expectTypeOf(connected).toEqualTypeOf<Amqp<System["shop"]>>();
    expectTypeOf(connected.close()).resolves.toEqualTypeOf<string[]>();
    // @ts-expect-error: no such service in the system
    await connect("amqp://localhost", { system, service: "shopp" });
    // @ts-expect-error: no such option
    await connect("amqp://localhost", { system, service: "shop", closeTimeout: 1 });
  });

  test("take only contracts that the service lists, also when another has the same schema", () => {
    expectTypeOf(warehouse.broadcast(prices, { article: "lamp", cents: 1 })).resolves.toBeVoid();
    // @ts-expect-error: the warehouse does not list these sales
    void warehouse.broadcast(sales, { article: "lamp", cents: 1 });
    expectTypeOf(shop.notify(orderPlaced, { article: "lamp", pieces: 1 })).resolves.toBeVoid();
    // @ts-expect-error: the shop does not notify that an order was paid
    void shop.notify(orderPaid, { article: "lamp", pieces: 1 });
    // @ts-expect-error: nor does it ask for restocking
    void shop.request(restock, { article: "lamp" });
    // @ts-expect-error: a broadcast is not an operation
    void shop.request(prices, { article: "lamp", cents: 1 });
  });

  test("infer what goes in and what comes out from the schemas", () => {
    expectTypeOf(shop.request(quote, { article: "lamp" })).resolves.toEqualTypeOf<{ cents: number }>();
    void shop.listen(prices, (price, delivery) => {
      expectTypeOf(price).toEqualTypeOf<{ article: string; cents: number }>();
      expectTypeOf(delivery).toEqualTypeOf<Delivery>();
    });
    void warehouse.subscribe(orderPlaced, async (order, delivery) => {
      expectTypeOf(order).toEqualTypeOf<{ article: string; pieces: number }>();
      expectTypeOf(delivery.messageId).toEqualTypeOf<string | undefined>();
    });
    void warehouse.respond(quote, (request) => {
      expectTypeOf(request).toEqualTypeOf<{ article: string; pieces: number }>();
      return { cents: request.pieces };
    });
    void warehouse.respond(quote, async ({ pieces }) => ({ cents: pieces }));
  });

  test("expose nothing to acknowledge with: a delivery cannot be settled twice, or on another channel (pitfall 57)", () => {
    for (const _ of ["ack", "nack", "reject", "fields", "channel"] as const) {
      expectTypeOf<Extract<keyof Delivery, typeof _>>().toEqualTypeOf<never>();
    }
    expectTypeOf<Delivery>().toHaveProperty("signal");
  });

  test("refuse messages, answers and options that do not fit (pitfall 93)", () => {
    expectTypeOf(shop.request(quote, { article: "lamp", pieces: 2 }, { timeoutMs: 5 })).not.toBeAny();
    // @ts-expect-error: cents is a number
    void warehouse.broadcast(prices, { article: "lamp", cents: "1" });
    // @ts-expect-error: pieces is missing
    void shop.notify(orderPlaced, { article: "lamp" });
    // @ts-expect-error: a misspelt field
    void shop.request(quote, { artikle: "lamp" });
    // @ts-expect-error: the answer has no cents
    void warehouse.respond(quote, () => ({}));
    // @ts-expect-error: a misspelt option
    void shop.request(quote, { article: "lamp" }, { timeout: 5 });
    void warehouse.subscribe(orderPlaced, () => undefined, { retry: "in-place", retryDelaysMs: [5] });
    void warehouse.subscribe(orderPlaced, () => undefined, { retry: "in-place", concurrency: 1 });
    void warehouse.subscribe(orderPlaced, () => undefined, { concurrency: 2, isAvailable: async () => true });
    // @ts-expect-error: who holds the line handles one at a time
    void warehouse.subscribe(orderPlaced, () => undefined, { retry: "in-place", concurrency: 2 });
    // @ts-expect-error: there is no such way to retry
    void warehouse.subscribe(orderPlaced, () => undefined, { retry: "at once" });
    // @ts-expect-error: it promises an answer
    void warehouse.subscribe(orderPlaced, () => undefined, { isAvailable: () => true });
    // @ts-expect-error: broadcasts have no options
    void warehouse.broadcast(prices, { article: "lamp", cents: 1 }, {});
  });
});

describe("a system", () => {
  test("has no misspelt role, and no contract under a role of another idiom", () => {
    expectTypeOf(defineSystem({ shop: { listens: [prices] } })).toHaveProperty("shop");
    // @ts-expect-error: it is "listens"
    defineSystem({ shop: { listen: [prices] } });
    // @ts-expect-error: it is "listens", also beside a role that is spelt well
    defineSystem({ shop: { listen: [prices], notifies: [orderPlaced] } });
    // @ts-expect-error: a notification is subscribed to
    defineSystem({ shop: { listens: [orderPlaced] } });
  });

  test("keeps the verbs of the other roles where one is misspelt", () => {
    type Misspelt = { listen: [typeof prices]; notifies: [typeof orderPlaced] };
    expectTypeOf<keyof Amqp<Misspelt>>().toEqualTypeOf<"notify" | "isReady" | "close" | typeof Symbol.asyncDispose>();
  });

  test("keeps the names of contracts as literals", () => {
    expectTypeOf(prices.name).toEqualTypeOf<"prices">();
    expectTypeOf(system.shop.requests[0]).toEqualTypeOf(quote);
    expectTypeOf<keyof System>().toEqualTypeOf<"shop" | "warehouse" | "auditor">();
  });
});

describe("a declared error", () => {
  test("is narrowed to its details by OperationError.is", () => {
    if (OperationError.is(error, quote, "sold_out")) {
      expectTypeOf(error.details).toEqualTypeOf<{ article: string }>();
      expectTypeOf(error.error).toEqualTypeOf<"sold_out">();
      expectTypeOf(error).toExtend<AmqpKitError>();
    }
    if (OperationError.is(error, quote, "too_many")) expectTypeOf(error.details.most).toBeNumber();
  });

  test("is one that the operation declares, with the details that it declares", () => {
    expectTypeOf(new OperationError(quote, "sold_out", { article: "lamp" }).details.article).toBeString();
    // @ts-expect-error: quote declares no such error
    void new OperationError(quote, "out_of_stock", { article: "lamp" });
    // @ts-expect-error: these are the details of the other one
    void new OperationError(quote, "sold_out", { most: 1 });
    // @ts-expect-error: restock declares none
    void new OperationError(restock, "sold_out", { article: "lamp" });
    // @ts-expect-error: quote declares no such error
    OperationError.is(error, quote, "out_of_stock");
  });
});
