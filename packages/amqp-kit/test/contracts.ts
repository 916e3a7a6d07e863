/** A small shop: what the kit's tests say to each other. */
import { broadcast, defineSystem, notification, operation } from "../src/index.ts";
import { z } from "zod";

export const Price = z.object({ article: z.string(), cents: z.int().nonnegative() });
export type Price = z.output<typeof Price>;

export const Order = z.object({ orderId: z.string().min(1), article: z.string(), pieces: z.int().positive() });
export type Order = z.output<typeof Order>;

export const QuoteRequest = z.object({ article: z.string(), pieces: z.int().positive() });
export const Quote = z.object({ article: z.string(), cents: z.int() });

/** Also accepted as text, `lamp 1999`, as older senders write it. */
export const prices = broadcast("prices", {
  message: Price,
  decoders: {
    "text/plain": (text) => {
      const [article, cents] = text.split(" ");
      return { article, cents: Number(cents) };
    },
  },
});

export const orderPlaced = notification("order.placed", { message: Order });

export const quote = operation("quote", {
  exchange: "shop",
  request: QuoteRequest,
  response: Quote,
  timeoutMs: 5_000,
  errors: { sold_out: z.object({ article: z.string() }) },
});

export const system = defineSystem({
  market: { broadcasts: [prices] },
  board: { listens: [prices] },
  till: { notifies: [orderPlaced], requests: [quote] },
  billing: { subscribes: [orderPlaced] },
  shipping: { subscribes: [orderPlaced] },
  warehouse: { responds: [quote] },
});
