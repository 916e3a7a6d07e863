import type { Figure } from "./figure.ts";

/** Rounds to three digits, which is all that these measurements can say. */
export function rounded(value: number): string {
  return Number(value.toPrecision(3)).toLocaleString("en");
}

/** The figures as a Markdown table. */
export function tableOf(figures: readonly Figure[]): string {
  const rows = figures.map(
    ({ what, unit, kit, amqplib }) =>
      `| ${what} | ${unit} | ${rounded(kit)} | ${amqplib === undefined ? "–" : rounded(amqplib)} |`,
  );
  return ["| measured | unit | amqp-kit | plain amqplib |", "|---|---|---:|---:|", ...rows].join("\n");
}
