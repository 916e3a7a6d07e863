import { parseArgs } from "node:util";

const usage = `Usage: npm run demo -- [--once] [--report FILE]

Runs RabbitMQ and the six services on this machine, tells a story in five steps, and keeps running until Ctrl-C.

  --once          exits after the story: with 0 if every step passed, else with 1
  --report FILE   writes what was observed, as JSON
  --help          prints this text

AMQP_URL=amqp://… uses that broker and never restarts it; RABBITMQ_FROM=container, machine or apt chooses where one is started from.
DATABASE_URL=postgres://… uses that PostgreSQL instead of embedded databases.`;

export interface Arguments {
  once: boolean;
  reportFile: string | undefined;
}

/** Reads the command line. Exits after `--help`, and with 2 and the usage after an invalid argument. */
export function readArguments(): Arguments {
  try {
    const options = {
      once: { type: "boolean", default: false },
      report: { type: "string" },
      help: { type: "boolean", default: false },
    } as const;
    const { once, report: reportFile, help } = parseArgs({ options }).values;
    if (!help) return { once, reportFile };
  } catch (error) {
    console.error(`${error instanceof Error ? error.message : String(error)}\n\n${usage}`);
    return process.exit(2);
  }
  console.log(usage);
  return process.exit(0);
}
