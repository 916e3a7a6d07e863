/** A user's program, as it stands in a project of its own: `test/servers/packed.test.ts` compiles and runs it there. */
import { connect, OperationError } from "amqp-kit";
import { broadcast, defineSystem, notification, operation } from "amqp-kit/contract";
import { z } from "zod";

const Article = z.object({ article: z.string() });
const priceChanged = broadcast("price_changed", { message: Article.extend({ cents: z.int() }) });
const orderPlaced = notification("order_placed", { message: Article.extend({ pieces: z.int() }) });
const quote = operation("quote", {
  exchange: "shop",
  request: Article,
  response: z.object({ cents: z.int() }),
  errors: { sold_out: Article },
  timeoutMs: 5_000,
});
const system = defineSystem({
  shop: { listens: [priceChanged], notifies: [orderPlaced], requests: [quote] },
  warehouse: { broadcasts: [priceChanged], subscribes: [orderPlaced], responds: [quote] },
});

const url = process.env["AMQP_URL"] ?? "amqp://localhost";
const shop = await connect(url, { system, service: "shop" });
const warehouse = await connect(url, { system, service: "warehouse" });

const heard = Promise.withResolvers<number>();
await shop.listen(priceChanged, ({ cents }) => heard.resolve(cents));
await warehouse.broadcast(priceChanged, { article: "lamp", cents: 1999 });
console.log("heard", await heard.promise);

const ordered = Promise.withResolvers<number>();
await warehouse.subscribe(orderPlaced, ({ pieces }) => ordered.resolve(pieces));
await shop.notify(orderPlaced, { article: "lamp", pieces: 2 });
console.log("ordered", await ordered.promise);

await warehouse.respond(quote, ({ article }) => {
  if (article !== "lamp") throw new OperationError(quote, "sold_out", { article });
  return { cents: 1999 };
});
console.log("quoted", (await shop.request(quote, { article: "lamp" })).cents);
try {
  await shop.request(quote, { article: "sofa" });
} catch (error) {
  if (!OperationError.is(error, quote, "sold_out")) throw error;
  console.log("sold out", error.details.article);
}
// Node.js 22 does not run `await using`
await warehouse.close();
await shop.close();
