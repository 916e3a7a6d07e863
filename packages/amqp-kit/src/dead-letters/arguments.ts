import { parseArgs } from "node:util";
import { UsageError } from "../errors.ts";
import { messageOf } from "../telemetry/log.ts";

/** What `amqp-kit dead …` may be told. */

export const help = `Usage: amqp-kit dead COMMAND [QUEUE…] [options]

Looks after the messages that subscribers have set aside. The broker is that of AMQP_URL, or of the file that AMQP_URL_FILE names;
for amqps:// the PEM files in AMQP_CA_FILE, AMQP_CERT_FILE and AMQP_KEY_FILE say whom to trust and who asks.

Commands
  list       how many messages each queue holds, and why
  show       the messages themselves, with their bodies
  requeue    sends messages back to the queue that they came from
  discard    deletes messages, after asking
  policy     prints the policy that quorum queues need on RabbitMQ 4

QUEUE is a dead queue, as list prints it. Default: all of the system's.

Which messages (show, requeue, discard)
  --id ID              with this message id; may be repeated
  --reason REASON      set aside for this reason; may be repeated
  --older-than AGE     set aside longer ago than 90s, 15m, 6h or 2d
  --newer-than AGE     set aside since then
  --limit N            the first N of those
  --all                all: requeue and discard want to hear it where nothing else is said

Options
  --system FILE        the module that exports the system: JavaScript, or TypeScript that Node.js can strip of its types.
                       Default: what package.json says, "amqp-kit": { "system": "FILE" }
  --json               for programs: a JSON object per line
  --policy-is-set      RabbitMQ 4.0 to 4.2: the policy that "dead policy" prints applies
  --yes                discard: does not ask
  --save FILE          discard: first writes the messages to this new file, as JSON Lines
  --help`;

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
    throw new UsageError("Say what to do, for instance: amqp-kit dead list");
  if (!isCommand(command)) {
    const all = Object.keys(optionsOf).join(", ");
    throw new UsageError(`There is no command "${command}". There are ${all}.`);
  }
  const allowed: readonly string[] = optionsOf[command];
  for (const token of tokens) {
    // It would be ignored in silence.
    if (token.kind === "option" && !allowed.includes(token.name))
      throw new UsageError(`${token.rawName} is no option of "dead ${command}".`);
  }
  return { command, queues, values };
}

function parse(args: readonly string[]) {
  try {
    return parseArgs({ args: [...args], options, allowPositionals: true, tokens: true });
  } catch (error) {
    // Node adds advice that does not fit.
    throw new UsageError(`${messageOf(error).replace(/\. .*|\.$/s, "")}.`);
  }
}

function isCommand(name: string): name is Command {
  return Object.hasOwn(optionsOf, name);
}
