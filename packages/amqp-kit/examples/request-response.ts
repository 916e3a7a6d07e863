import { connect, defineSystem, operation, OperationError } from "amqp-kit";
import { z } from "zod";

const Article = z.object({ article: z.string() });
const quote = operation("quote", {
  exchange: "api",
  request: Article,
  response: z.object({ cents: z.int() }),
  errors: { sold_out: Article },
  timeoutMs: 5_000,
});
const system = defineSystem({ shop: { requests: [quote] }, warehouse: { responds: [quote] } });
const url = process.env["AMQP_URL"] ?? "amqp://localhost";

await using warehouse = await connect(url, { system, service: "warehouse", logger: console });
await warehouse.respond(quote, ({ article }) => {
  if (article !== "lamp") throw new OperationError(quote, "sold_out", { article });
  return { cents: 1999 };
});

await using shop = await connect(url, { system, service: "shop" });
console.log(await shop.request(quote, { article: "lamp" }));
try {
  await shop.request(quote, { article: "sofa" });
} catch (error) {
  if (!OperationError.is(error, quote, "sold_out")) throw error;
  console.log(`sold out: ${error.details.article}`);
}
