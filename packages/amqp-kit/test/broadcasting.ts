import { type Price } from "./contracts.ts";

export const lamp = (cents: number): Price => ({ article: "lamp", cents });
export const numbers = (from: number, to: number): number[] =>
  Array.from({ length: to - from + 1 }, (_, index) => from + index);
