/** `npm run bench`: measures what docs/scaling.md quotes, in less than three minutes. The figures are valid only while nothing else runs. */
import { readFileSync, writeFileSync } from "node:fs";
import { availableParallelism } from "node:os";
import { parseArgs } from "node:util";
import { startPostgres, startRabbitMq } from "@amqp-idioms/local-servers";
import { bench, hasDefaultQueueTypes } from "./bench.ts";
import { rounded, tableOf } from "./table.ts";

const page = "docs/scaling.md";
const usage = `Usage: npm run bench -- [--seconds N] [--write]
  --seconds N   the length of each measurement; default 3
  --write       writes the figures into ${page}`;

process.on("SIGINT", () => process.exit(130)).on("SIGTERM", () => process.exit(143));
await main();
process.exit();

async function main(): Promise<void> {
  const options = readArguments();
  if (options === undefined) return;
  const log = console.log;
  await using broker = await startRabbitMq({ log });
  const postgres = await startPostgres({ log });
  try {
    if (!hasDefaultQueueTypes(broker))
      log(`Quorum queues are not measured: they need RabbitMQ 3.11 or newer, and this is ${broker.version}.`);
    if (postgres.reason !== undefined) log(`The outbox is not measured: it ${postgres.reason}`);
    const figures = await bench(
      { broker, postgresUrl: postgres.server?.url },
      {
        seconds: options.seconds,
        log: ({ what, unit, kit, amqplib }) =>
          log(`${what}: ${rounded(kit)} ${unit}${amqplib === undefined ? "" : ` (plain amqplib ${rounded(amqplib)})`}`),
      },
    );
    const day = new Date().toISOString().slice(0, 10);
    const where = `RabbitMQ ${broker.version}, Node.js ${process.versions.node}, ${availableParallelism()} cores for everything, ${day}.`;
    const text = `${where}\n\n${tableOf(figures)}`;
    log(`\n${text}`);
    if (options.isWriting) write(text);
  } finally {
    await postgres.server?.close();
  }
}

function readArguments(): { seconds: number; isWriting: boolean } | undefined {
  try {
    const { values } = parseArgs({ options: { seconds: { type: "string" }, write: { type: "boolean" } } });
    const seconds = Number(values.seconds ?? 3);
    if (!(seconds > 0)) throw new TypeError(`--seconds must be a number above 0, not "${values.seconds}"`);
    return { seconds, isWriting: values.write ?? false };
  } catch (error) {
    console.error(`${error instanceof Error ? error.message : String(error)}\n\n${usage}`);
    process.exitCode = 2;
    return undefined;
  }
}

function write(text: string): void {
  const before = readFileSync(page, "utf8");
  const block = /(<!-- bench -->\n)[^]*?(\n<!-- \/bench -->)/;
  if (!block.test(before)) throw new Error(`${page} has no <!-- bench --> … <!-- /bench --> block for the figures.`);
  writeFileSync(
    page,
    before.replace(block, (_, start, end) => `${start}${text}${end}`),
  );
}
