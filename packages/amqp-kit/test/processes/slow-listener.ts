/** A listener in a process of its own, to be frozen: prints the cents of each price it shows. */
import { connect } from "../../src/index.ts";
import { prices, system } from "../contracts.ts";

const url = process.env["AMQP_URL"] ?? "";
const board = await connect(url, { system, service: "board" });
await board.listen(prices, ({ cents }) => console.log(JSON.stringify({ cents })), { maxBuffered: 20 });
console.log(JSON.stringify({ msg: "ready" }));
