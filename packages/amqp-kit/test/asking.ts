/** What the tests of request/response ask, and with whom. */
import { fileURLToPath } from "node:url";
import { startProcess, type ServiceProcess } from "@amqp-idioms/local-servers";
import type { Cleanup } from "@amqp-idioms/local-servers/vitest";
import type { z } from "zod";
import { connect, defineSystem, operation } from "../src/index.ts";
import { quote, Quote as QuoteSchema, QuoteRequest as QuoteRequestSchema } from "./contracts.ts";

export type QuoteRequest = z.output<typeof QuoteRequestSchema>;
export type Quote = z.output<typeof QuoteSchema>;

export const lamps = (pieces: number): QuoteRequest => ({ article: "lamp", pieces });
export const numbers = (from: number, to: number): number[] =>
  Array.from({ length: to - from + 1 }, (_, index) => from + index);
export const double = ({ article, pieces }: QuoteRequest): Quote => ({ article, cents: pieces * 2 });

/** @returns what it rejects with, and after how long */
export async function failure(asked: Promise<unknown>): Promise<{ error: unknown; ms: number }> {
  const startedAt = performance.now();
  try {
    const answer = await asked;
    return { error: new Error(`answered ${JSON.stringify(answer)}`), ms: performance.now() - startedAt };
  } catch (error) {
    return { error, ms: performance.now() - startedAt };
  }
}

export const responderProcess = (url: string, env: Record<string, string> = {}): Promise<ServiceProcess> =>
  startProcess({
    main: fileURLToPath(new URL("./processes/responder.ts", import.meta.url)),
    env: { AMQP_URL: url, ...env },
  });
export const begunBy = ({ lines }: ServiceProcess): unknown[] => lines.flatMap(({ json }) => json?.["begun"] ?? []);

const facts = { request: QuoteRequestSchema, response: QuoteSchema, timeoutMs: 5_000 };
export const restock = operation("restock", { exchange: "shop", ...facts });
export const archive = operation("archive", { exchange: "archive", ...facts });
export const postQuote = operation("post_quote", { exchange: "shop", requestQueue: "transient", ...facts });
const shop = defineSystem({
  till: { requests: [quote, restock, archive, postQuote] },
  warehouse: { responds: [quote, restock, archive, postQuote] },
});

/** Both sides, with operations beside `quote` that nobody answers until asked to. */
export async function openShop(url: string, cleanup: Cleanup) {
  const warehouse = cleanup(await connect(url, { system: shop, service: "warehouse" }));
  const till = cleanup(await connect(url, { system: shop, service: "till" }));
  return { till, warehouse };
}
