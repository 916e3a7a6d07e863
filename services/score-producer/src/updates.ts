import { readFile } from "node:fs/promises";
import { isAbsolute, resolve } from "node:path";
import { addAbortSignal } from "node:stream";
import type { ScoreUpdate } from "@amqp-idioms/contracts";
import { InputError, readArguments } from "./arguments.ts";
import { builtInMatch } from "./built-in-match.ts";
import { readMatches } from "./football-json.ts";
import type { Match } from "./football-json.ts";
import { readUpdates } from "./json-lines.ts";
import type { LineFault } from "./json-lines.ts";
import { replay } from "./replay.ts";
import { nameOf, storyOf } from "./story.ts";

/** Yields the updates in order and throws when `signal` aborts. `onFault` is called for each invalid line of stdin. */
export type Updates = (running: {
  signal: AbortSignal;
  onFault: (fault: LineFault) => void;
}) => AsyncIterable<ScoreUpdate>;

/**
 * Prepares the updates that the command line asks for. Reads and checks the file before anything is sent.
 * @throws {InputError} when the arguments or the file are invalid, or the file has no such match
 */
export async function updatesFor(args: readonly string[]): Promise<Updates> {
  const source = readArguments(args);
  if (source.from === "stdin") {
    return ({ signal, onFault }) => readUpdates(addAbortSignal(signal, process.stdin), onFault);
  }
  const matches = source.from === "file" ? await matchesOf(source.file, source.match) : [builtInMatch];
  return ({ signal }) => replay(matches.map(storyOf), source.pace, signal);
}

async function matchesOf(file: string, text: string | undefined): Promise<Match[]> {
  try {
    return matchesWith(text, readMatches(await readText(file)));
  } catch (error) {
    throw new InputError(`Cannot replay "${file}": ${error instanceof Error ? error.message : String(error)}`);
  }
}

/** pnpm runs this in the service's folder, and INIT_CWD is the folder of its caller: a relative path may be relative to either. */
async function readText(file: string): Promise<string> {
  const callersFolder = process.env["INIT_CWD"];
  try {
    return await readFile(file, "utf8");
  } catch (error) {
    if (callersFolder === undefined || isAbsolute(file)) throw error;
    return readFile(resolve(callersFolder, file), "utf8");
  }
}

/**
 * Finds the matches whose round or teams contain `text`: case-sensitive first ("Final" is not in "Semi-finals"), and if there is
 * none, case-insensitive. Without `text`, all matches.
 */
export function matchesWith(text: string | undefined, matches: readonly Match[]): Match[] {
  const [first] = matches;
  if (first === undefined) throw new Error("it has no match that was played");
  if (text === undefined) return [...matches];
  const having = (part: string, form: (name: string) => string): Match[] =>
    matches.filter((match) =>
      [match.round ?? "", match.home, match.away, nameOf(match)].some((name) => form(name).includes(part)),
    );
  const asWritten = having(text, (name) => name);
  const found = asWritten.length > 0 ? asWritten : having(text.toLowerCase(), (name) => name.toLowerCase());
  if (found.length > 0) return found;
  throw new Error(`none of its ${matches.length} matches contains "${text}"; the first match is "${nameOf(first)}"`);
}
