import { connect, defineSystem, notification } from "amqp-kit";
import { z } from "zod";

const orderPlaced = notification("order_placed", { message: z.object({ article: z.string(), pieces: z.int() }) });
const system = defineSystem({ shop: { notifies: [orderPlaced] }, warehouse: { subscribes: [orderPlaced] } });
const url = process.env["AMQP_URL"] ?? "amqp://localhost";

// The warehouse has never run, but its queue exists and keeps the order.
await using shop = await connect(url, { system, service: "shop", logger: console });
await shop.notify(orderPlaced, { article: "lamp", pieces: 2 });

await using warehouse = await connect(url, { system, service: "warehouse" });
const packed = Promise.withResolvers<string>();
await warehouse.subscribe(orderPlaced, async ({ article, pieces }, { messageId }) => {
  // Write messageId and the effect in one transaction: the broker may deliver a message twice.
  packed.resolve(`${pieces} × ${article}, message id of ${messageId?.length} characters`);
});
console.log(await packed.promise);
