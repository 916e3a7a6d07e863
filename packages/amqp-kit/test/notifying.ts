import { type FetchedMessage, type VirtualHost } from "@amqp-idioms/local-servers";
import { connect } from "../src/index.ts";
import { type Order, orderPlaced, system } from "./contracts.ts";
import { bareSubscriber } from "./peers/bare-notify.ts";

export type Leave = () => Promise<void>;
export type Service = "billing" | "shipping";
export type OnPieces = (pieces: number) => unknown;
export const subscribers = {
  kit: async (url: string, service: Service, onPieces: OnPieces): Promise<Leave> => {
    const amqp = await connect(url, { system, service });
    await amqp.subscribe(orderPlaced, ({ pieces }) => onPieces(pieces));
    return async () => void (await amqp.close());
  },
  bare: async (url: string, service: Service, onPieces: OnPieces): Promise<Leave> => {
    const subscriber = await bareSubscriber(url, "order.placed", service, ({ content }) =>
      onPieces(JSON.parse(content.toString()).pieces),
    );
    return () => subscriber[Symbol.asyncDispose]();
  },
};

export const order = (pieces: number): Order => ({ orderId: `order-${pieces}`, article: "lamp", pieces });
export const numbers = (from: number, to: number): number[] =>
  Array.from({ length: to - from + 1 }, (_, index) => from + index);
export const setAside = (vhost: VirtualHost, service: Service): Promise<FetchedMessage[]> =>
  vhost.management.getMessages(vhost.name, `order.placed.${service}.dead`);
