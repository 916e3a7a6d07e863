import { broadcast, connect, defineSystem } from "amqp-kit";
import { z } from "zod";

const priceChanged = broadcast("price_changed", { message: z.object({ article: z.string(), cents: z.int() }) });
const system = defineSystem({ shop: { broadcasts: [priceChanged] }, sign: { listens: [priceChanged] } });
const url = process.env["AMQP_URL"] ?? "amqp://localhost";

await using sign = await connect(url, { system, service: "sign", logger: console });
const shown = Promise.withResolvers<string>();
await sign.listen(priceChanged, ({ article, cents }) => shown.resolve(`${article}: ${cents} cents`));

await using shop = await connect(url, { system, service: "shop" });
await shop.broadcast(priceChanged, { article: "lamp", cents: 1999 });
console.log(await shown.promise);
