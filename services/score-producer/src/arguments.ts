import { parseArgs } from "node:util";
import type { Pace } from "./replay.ts";

/** What to send: a file's matches, the built-in match, or score updates from stdin. */
export type Source =
  | { readonly from: "file"; readonly file: string; readonly match: string | undefined; readonly pace: Pace }
  | { readonly from: "built-in"; readonly pace: Pace }
  | { readonly from: "stdin" };

/** The command line, or the file that it names, is wrong: its message is for the user as it is. */
export class InputError extends Error {
  override readonly name = "InputError";
}

const defaultSpeed = 10;
// Beyond these a pause would be longer than a timer can be
const minSpeed = 0.001;
const maxRepeat = 86_400;

const usage = `Usage: score-producer [--replay FILE [--match TEXT]] [--speed N|max] [--repeat SECONDS]
       score-producer --stdin
  --replay FILE     plays the matches of a file in football.json format; without it a small built-in match
  --match TEXT      only those whose round or teams contain TEXT
  --speed N|max     minutes of a match per second, or no pauses at all (default ${defaultSpeed})
  --repeat SECONDS  starts again that long after the last update, instead of ending
  --stdin           sends score updates from stdin, JSON Lines, as they come`;

/**
 * @param args  without program and script
 * @throws {InputError} naming all that is wrong, and how it is used
 */
export function readArguments(args: readonly string[]): Source {
  const { stdin, ...others } = parse(args);
  const { replay, match, speed, repeat } = others;
  if (stdin === true) {
    check(Object.keys(others).map((name) => `--${name} does not go with --stdin.`));
    return { from: "stdin" };
  }
  const pace = { speed: speed === "max" ? Infinity : numberOf(speed ?? defaultSpeed), repeat: numberOf(repeat) };
  check([
    match !== undefined && replay === undefined && "--match needs --replay FILE.",
    replay === "" && "--replay needs the name of a file.",
    !(pace.speed >= minSpeed) && `--speed must be max or a number from ${minSpeed} up, not "${speed}".`,
    repeat !== undefined &&
      !(pace.repeat >= 0 && pace.repeat <= maxRepeat) &&
      `--repeat must be a number of seconds from 0 to ${maxRepeat}, not "${repeat}".`,
  ]);
  const played = { speed: pace.speed, repeat: repeat === undefined ? undefined : pace.repeat };
  if (replay === undefined) return { from: "built-in", pace: played };
  return { from: "file", file: replay, match, pace: played };
}

function parse(args: readonly string[]) {
  const text = { type: "string" } as const;
  const options = { replay: text, match: text, speed: text, repeat: text, stdin: { type: "boolean" } } as const;
  try {
    // `pnpm start -- --stdin` hands the dashes on
    return parseArgs({ args: args[0] === "--" ? args.slice(1) : [...args], options }).values;
  } catch (error) {
    throw new InputError(`${error instanceof Error ? error.message : String(error)}\n${usage}`);
  }
}

function check(faults: readonly (string | false)[]): void {
  const told = faults.filter((fault) => fault !== false);
  if (told.length > 0) throw new InputError(`${told.join("\n")}\n${usage}`);
}

function numberOf(text: string | number | undefined): number {
  return text === "" ? NaN : Number(text);
}
