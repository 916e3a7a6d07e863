import type { Figure } from "./figure.ts";

/** To three digits: more would say more than a measurement knows. */
export function rounded(value: number): string {
  return Number(value.toPrecision(3)).toLocaleString("en");
}

/** In Markdown. */
export function tableOf(figures: readonly Figure[]): string {
  const rows = figures.map(
    ({ what, unit, kit, amqplib }) =>
      `| ${what} | ${unit} | ${rounded(kit)} | ${amqplib === undefined ? "–" : rounded(amqplib)} |`,
  );
  return ["| measured | unit | amqp-kit | plain amqplib |", "|---|---|---:|---:|", ...rows].join("\n");
}
