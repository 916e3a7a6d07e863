#!/usr/bin/env node
import { readFileSync } from "node:fs";
import { resolve } from "node:path";
import { createInterface } from "node:readline/promises";
import type { TlsOptions } from "../broker/tls.ts";
import { readUrls } from "../broker/url.ts";
import { help, readArguments } from "./arguments.ts";
import type { Arguments, Values } from "./arguments.ts";
import { DeadLetters } from "./dead-letters.ts";
import { workQueue } from "./letter.ts";
import { SavedLetters } from "./saved-letters.ts";
import { Selection } from "./selection.ts";
import { findSystemFile, loadSystems } from "./system-file.ts";
import { counted, Groups, recordOf, summaryOf, textOf } from "./text.ts";
import { deadPolicy, policyCommand, deliveryLimitWarning } from "../derive/dead-policy.ts";
import { UsageError } from "../errors.ts";
import { deadQueue, subscriptionQueues } from "../names.ts";
import { messageOf } from "../telemetry/log.ts";

/** `amqp-kit dead …`. Exit codes: 0 done, 1 failed, 2 wrong usage. */

interface Work {
  dead: DeadLetters;
  /** The number of messages by queue name; undefined if the queue does not exist. */
  queues: ReadonlyMap<string, number | undefined>;
  values: Values;
  selection: Selection;
}

const interrupted = new AbortController();
/** The terminal sends Ctrl-C to all processes, and a package manager forwards it: a second signal within this time is the same one. */
const sameSignalMs = 200;
let interruptedAt = Infinity;
for (const signal of ["SIGINT", "SIGTERM"] as const) {
  process.on(signal, () => {
    if (performance.now() - interruptedAt > sameSignalMs) process.exit(1);
    interruptedAt = Math.min(interruptedAt, performance.now());
    interrupted.abort();
  });
}
// The reader of the output has exited, as in `dead show | head`.
process.stdout.on("error", () => interrupted.abort());

process.exitCode = await main(process.argv.slice(2));

async function main(args: readonly string[]): Promise<0 | 1 | 2> {
  try {
    await run(readArguments(args));
    if (!interrupted.signal.aborted) return 0;
    printError("Interrupted. The remaining messages were left in the queue.");
    return 1;
  } catch (error) {
    printError(messageOf(error));
    if (!(error instanceof UsageError)) return 1;
    printError('Run "amqp-kit dead --help" for the usage.');
    return 2;
  }
}

async function run({ command, queues: given, values }: Arguments): Promise<void> {
  if (command === "help") return print(help);
  const selection = new Selection(values);
  const isAll = given.length === 0 && selection.isAll;
  if (isAll && !values.all && (command === "requeue" || command === "discard"))
    throw new UsageError("No messages selected. Name queues, filter by --id, --reason or age, or pass --all.");
  if (command === "discard" && !values.yes && !process.stdin.isTTY)
    throw new UsageError("Cannot ask for confirmation: stdin is not a terminal. Pass --yes to discard without it.");

  const known = await deadQueues(values.system, given.length === 0);
  const names = given.length === 0 ? known : [...new Set(given)];
  names.forEach(workQueue);
  if (command === "policy") return policy(names, values);

  const settings = { isPolicySet: values["policy-is-set"], tls: tls(), signal: interrupted.signal };
  await using dead = await DeadLetters.open(urls(), settings);
  const queues = new Map<string, number | undefined>();
  for (const queue of names) queues.set(queue, await dead.count(queue));
  const unknown = names.find((queue) => queues.get(queue) === undefined && !known.includes(queue));
  if (unknown !== undefined) {
    const hint = known.length === 0 ? "" : ` The system's dead queues are ${known.join(", ")}.`;
    throw new UsageError(`Queue "${unknown}" does not exist on the broker.${hint}`);
  }
  await { list, show, requeue, discard }[command]({ dead, queues, values, selection });
  if (!interrupted.signal.aborted) selection.checkFound();
}

async function list({ dead, queues, values }: Work): Promise<void> {
  let deliveryCount = 0;
  for (const [queue, waiting] of queues) {
    const groups = new Groups();
    const messages = waiting && (await dead.read(queue, (letters) => groups.add(letters)));
    deliveryCount = Math.max(deliveryCount, groups.highestDeliveryCount);
    const json = (): string => JSON.stringify({ queue, messages: messages ?? null, groups: groups.all });
    await print(values.json ? json() : summaryOf(queue, messages, groups.all));
  }
  const warning = deliveryLimitWarning(dead.brokerVersion, deliveryCount);
  if (warning !== undefined) printError(warning);
}

async function show({ dead, queues, values, selection }: Work): Promise<void> {
  for (const queue of withMessages(queues)) {
    await dead.read(queue, async (letters) => {
      for (const letter of selection.choose(letters))
        await print(values.json ? JSON.stringify(recordOf(queue, letter)) : textOf(queue, letter));
    });
  }
}

async function requeue({ dead, queues, values, selection }: Work): Promise<void> {
  for (const queue of withMessages(queues)) {
    let requeued = 0;
    let messages = 0;
    try {
      await dead.requeue(queue, selection.choose, (sent, seen) => {
        requeued = sent;
        messages = seen;
        progress(`${queue}: ${requeued} requeued, ${messages} of ${queues.get(queue)} read`);
      });
    } finally {
      progress("");
      const text = `${queue}: ${requeued} of ${counted(messages)} requeued to ${workQueue(queue)}`;
      await print(values.json ? JSON.stringify({ queue, requeued, messages }) : text);
    }
  }
}

async function discard({ dead, queues, values, selection }: Work): Promise<void> {
  await using saved = values.save === undefined ? undefined : await SavedLetters.create(resolve(values.save));
  for (const queue of withMessages(queues)) {
    const discarded = await dead.discard(queue, selection.choose, {
      save: async (letters) => saved?.write(letters.map((letter) => JSON.stringify(recordOf(queue, letter)))),
      confirm: async (count, signal) => {
        await saved?.sync();
        return values.yes || (await isConfirmed(`Permanently delete ${counted(count)} from ${queue}? [y/N] `, signal));
      },
      onBegin: () => saved?.keep(),
    });
    await saved?.forgetTheRest();
    await print(values.json ? JSON.stringify({ queue, discarded }) : `${queue}: ${counted(discarded)} discarded`);
  }
}

async function policy(queues: readonly string[], { json }: Values): Promise<void> {
  const { AMQP_URL, AMQP_URL_FILE } = process.env;
  const virtualHost = AMQP_URL || AMQP_URL_FILE ? readUrls(urls())[0]!.virtualHost : "/";
  const definitions = deadPolicy(queues, virtualHost);
  const text = [
    "For RabbitMQ 4. RabbitMQ 3.x rejects this policy, and has no delivery limit. As a command:",
    `  ${policyCommand(definitions)}`,
    "Or in a definitions file:",
    `  ${JSON.stringify(definitions)}`,
  ].join("\n\n");
  await print(json ? JSON.stringify(definitions) : text);
}

/** @throws {UsageError} */
async function deadQueues(file: string | undefined, isNeeded: boolean): Promise<string[]> {
  const found = file === undefined ? findSystemFile(process.cwd()) : resolve(file);
  if (found === undefined && isNeeded) {
    const inPackageJson = '"amqp-kit": { "system": "FILE" } in package.json';
    throw new UsageError(`No system given. Name the module that exports it: --system FILE, or ${inPackageJson}.`);
  }
  const systems = found === undefined ? [] : await loadSystems(found);
  const queues = systems.flatMap(subscriptionQueues);
  if (queues.length === 0 && isNeeded) throw new UsageError(`The system of ${found} has no subscribers.`);
  return [...new Set(queues.map(deadQueue))];
}

/** @throws {UsageError} */
function urls(): string {
  const { AMQP_URL, AMQP_URL_FILE } = process.env;
  if (AMQP_URL && AMQP_URL_FILE) throw new UsageError("AMQP_URL and AMQP_URL_FILE are both set. Unset one of them.");
  const url = AMQP_URL || contentOf("AMQP_URL_FILE", AMQP_URL_FILE)?.trim();
  if (!url) {
    const example = "amqp://user:password@localhost:5672";
    throw new UsageError(
      `No broker address given. Set AMQP_URL, for example to ${example}, or AMQP_URL_FILE to a file that contains it.`,
    );
  }
  return url;
}

/** @throws {UsageError} */
function tls(): TlsOptions | undefined {
  const { AMQP_CA_FILE, AMQP_CERT_FILE, AMQP_KEY_FILE } = process.env;
  if (!AMQP_CA_FILE && !AMQP_CERT_FILE && !AMQP_KEY_FILE) return undefined;
  return {
    ca: contentOf("AMQP_CA_FILE", AMQP_CA_FILE),
    cert: contentOf("AMQP_CERT_FILE", AMQP_CERT_FILE),
    key: contentOf("AMQP_KEY_FILE", AMQP_KEY_FILE),
  };
}

function contentOf(variable: string, file: string | undefined): string | undefined {
  if (!file) return undefined;
  try {
    return readFileSync(file, "utf8");
  } catch (error) {
    throw new UsageError(`Cannot read the file that ${variable} names: ${messageOf(error)}.`);
  }
}

/** Returns the queues that have messages; reports the others on stderr. */
function withMessages(queues: ReadonlyMap<string, number | undefined>): string[] {
  for (const [queue, waiting] of queues) if (!waiting) printError(summaryOf(queue, waiting, []));
  return [...queues.keys()].filter((queue) => queues.get(queue));
}

async function isConfirmed(question: string, signal: AbortSignal): Promise<boolean> {
  const terminal = createInterface({ input: process.stdin, output: process.stderr });
  // In raw mode a terminal sends no signal.
  terminal.once("SIGINT", () => interrupted.abort());
  try {
    const answer = await terminal.question(question, { signal: AbortSignal.any([interrupted.signal, signal]) });
    return /^y(es)?$/i.test(answer.trim());
  } catch {
    return false;
  } finally {
    terminal.close();
  }
}

/** Resolves when the text is written, so that a slow reader slows the work down. An interrupt ends the wait. */
async function print(text: string): Promise<void> {
  const { promise, resolve } = Promise.withResolvers<void>();
  const onEnd = (): void => resolve();
  interrupted.signal.addEventListener("abort", onEnd);
  process.stdout.write(`${text}\n`, onEnd);
  if (!interrupted.signal.aborted) await promise;
  interrupted.signal.removeEventListener("abort", onEnd);
}

function printError(text: string): void {
  process.stderr.write(`${text}\n`);
}

/** Overwrites the current line. On a terminal only. */
function progress(text: string): void {
  if (process.stderr.isTTY) process.stderr.write(`\r\u001b[K${text}`);
}
