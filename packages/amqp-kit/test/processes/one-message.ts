/** Says one thing by each verb that sends, closes, and ends by itself. */
import { connect } from "../../src/index.ts";
import { orderPlaced, prices, system } from "../contracts.ts";

const url = process.env["AMQP_URL"] ?? "";
{
  await using market = await connect(url, { system, service: "market" });
  await using till = await connect(url, { system, service: "till" });
  void market.broadcast(prices, { article: "lamp", cents: 1 });
  void till.notify(orderPlaced, { orderId: "1", article: "lamp", pieces: 1 });
}
console.log(JSON.stringify({ msg: "closed" }));
