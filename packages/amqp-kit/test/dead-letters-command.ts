import { type FetchedMessage, type VirtualHost } from "@amqp-idioms/local-servers";
import { type Cleanup } from "@amqp-idioms/local-servers/vitest";
import { expect } from "vitest";
import { connect } from "../src/index.ts";
import { orderPlaced, system } from "./contracts.ts";

export const queue = "order.placed.billing";
export const dead = `${queue}.dead`;
const inQueue = (vhost: VirtualHost, name: string): Promise<FetchedMessage[]> =>
  vhost.management.getMessages(vhost.name, name);
export const hoursAgo = (hours: number): string => new Date(Date.now() - hours * 3_600_000).toISOString();
export const json = (out: string): unknown[] =>
  out.split("\n").flatMap((line) => (line === "" ? [] : [JSON.parse(line)]));

/** What a handler that always throws, and somebody's garbage, have left: two orders and one message that cannot be read. */
export async function leaveDead(vhost: VirtualHost, cleanup: Cleanup): Promise<void> {
  const till = cleanup(await connect(vhost.url, { system, service: "till" }));
  const billing = cleanup(await connect(vhost.url, { system, service: "billing" }));
  for (const orderId of ["1", "2"]) {
    await till.notify(orderPlaced, { orderId, article: "secret lamp", pieces: 1 }, { messageId: `order-${orderId}` });
  }
  await vhost.management.publish(vhost.name, { exchange: "order.placed", body: Buffer.from([0xff, 0x00]) });
  const failing = await billing.subscribe(
    orderPlaced,
    ({ article }) => {
      throw new RangeError(`no ${article} left`);
    },
    { retryDelaysMs: [] },
  );
  await expect.poll(() => inQueue(vhost, dead)).toHaveLength(3);
  await failing.stop();
}
