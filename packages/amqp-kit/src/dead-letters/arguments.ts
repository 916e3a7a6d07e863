import { parseArgs } from "node:util";
import { UsageError } from "../errors.ts";
import { messageOf } from "../telemetry/log.ts";

/** The command line of `amqp-kit dead …`. */

export const help = `Usage: amqp-kit dead COMMAND [QUEUE…] [options]

Lists, shows, requeues and discards dead letters: messages that a subscriber could not handle.
AMQP_URL is the address of the broker, or AMQP_URL_FILE names a file that contains it. For amqps://, PEM files: AMQP_CA_FILE names
the trusted authorities, AMQP_CERT_FILE the client certificate, AMQP_KEY_FILE its key.

Commands
  list       counts the messages of each queue by reason, service and error
  show       prints messages with their bodies
  requeue    moves messages back to the queue that they came from
  discard    deletes messages after a confirmation
  policy     prints the policy that quorum queues need on RabbitMQ 4

QUEUE is a dead queue, as list prints it. Default: all dead queues of the system.

Selection (show, requeue, discard)
  --id ID              messages with this id; repeatable
  --reason REASON      messages dead-lettered for this reason; repeatable
  --older-than AGE     messages dead-lettered more than AGE ago: 90s, 15m, 6h or 2d
  --newer-than AGE     messages dead-lettered less than AGE ago
  --limit N            only the first N of the selected messages
  --all                all messages; required by requeue and discard if no queue and no other filter is given

Options
  --system FILE        module that exports the system: JavaScript, or TypeScript whose types Node.js can strip.
                       Default: "amqp-kit": { "system": "FILE" } in package.json
  --json               print one JSON object per line
  --policy-is-set      RabbitMQ 4.0 to 4.2: confirm that the policy of "dead policy" applies
  --yes                discard: skip the confirmation
  --save FILE          discard: first write the messages to this new file, as JSON Lines
  --help               print this text`;

const options = {
  system: { type: "string" },
  json: { type: "boolean", default: false },
  "policy-is-set": { type: "boolean", default: false },
  id: { type: "string", multiple: true },
  reason: { type: "string", multiple: true },
  "older-than": { type: "string" },
  "newer-than": { type: "string" },
  limit: { type: "string" },
  all: { type: "boolean", default: false },
  yes: { type: "boolean", default: false },
  save: { type: "string" },
  help: { type: "boolean", default: false },
} as const;

type Option = keyof typeof options;
const common: Option[] = ["system", "json", "policy-is-set", "help"];
const selecting: Option[] = [...common, "id", "reason", "older-than", "newer-than", "limit", "all"];
const optionsOf = {
  list: common,
  show: selecting,
  requeue: selecting,
  discard: [...selecting, "yes", "save"],
  policy: common,
} satisfies Record<string, Option[]>;

type Command = keyof typeof optionsOf;
export type Values = ReturnType<typeof parse>["values"];

export interface Arguments {
  command: Command | "help";
  queues: string[];
  values: Values;
}

/** @throws {UsageError} */
export function readArguments(args: readonly string[]): Arguments {
  const { values, positionals, tokens } = parse(args);
  const [area, command, ...queues] = positionals;
  if (values.help) return { command: "help", queues, values };
  if (area !== "dead" || command === undefined)
    throw new UsageError('No command given. Run for example "amqp-kit dead list".');
  if (!isCommand(command)) {
    const all = Object.keys(optionsOf).join(", ");
    throw new UsageError(`Unknown command "${command}". Commands: ${all}.`);
  }
  const allowed: readonly string[] = optionsOf[command];
  for (const token of tokens) {
    // Otherwise it would be silently ignored.
    if (token.kind === "option" && !allowed.includes(token.name))
      throw new UsageError(`"dead ${command}" does not accept ${token.rawName}.`);
  }
  return { command, queues, values };
}

function parse(args: readonly string[]) {
  try {
    return parseArgs({ args: [...args], options, allowPositionals: true, tokens: true });
  } catch (error) {
    // Node.js appends advice that does not apply here.
    throw new UsageError(`${messageOf(error).replace(/\. .*|\.$/s, "")}.`);
  }
}

function isCommand(name: string): name is Command {
  return Object.hasOwn(optionsOf, name);
}
