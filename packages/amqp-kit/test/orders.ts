/** What the tests of notify say to the shop's subscribers, and what they find in their queues. */
import { fileURLToPath } from "node:url";
import { startProcess } from "@amqp-idioms/local-servers";
import type { FetchedMessage, ServiceProcess, VirtualHost } from "@amqp-idioms/local-servers";
import type { Order } from "./contracts.ts";

export const billingQueue = "order.placed.billing";

export const order = (pieces: number, article = "lamp"): Order => ({ orderId: `order-${pieces}`, article, pieces });

export const numbers = (from: number, to: number): number[] =>
  Array.from({ length: to - from + 1 }, (_, index) => from + index);

/** What billing has set aside: a look leaves it there. */
export function setAside(vhost: VirtualHost): Promise<FetchedMessage[]> {
  return vhost.management.getMessages(vhost.name, `${billingQueue}.dead`);
}

/** Billing in a process of its own, to be killed. */
export function billingProcess(url: string, env: Record<string, string> = {}): Promise<ServiceProcess> {
  const main = fileURLToPath(new URL("processes/billing.ts", import.meta.url));
  return startProcess({ main, env: { AMQP_URL: url, ...env }, waitForReady: false });
}

/** The orders that a billing process says it has begun, or handled. */
export function ordersOf({ lines }: ServiceProcess, what: "begun" | "handled"): number[] {
  return lines.flatMap(({ json }) => (typeof json?.[what] === "number" ? [json[what]] : []));
}
