import { parseArgs } from "node:util";
import type { Pace } from "./replay.ts";

/** What to send: the matches of a file, the built-in match, or score updates from stdin. */
export type Source =
  | { readonly from: "file"; readonly file: string; readonly match: string | undefined; readonly pace: Pace }
  | { readonly from: "built-in"; readonly pace: Pace }
  | { readonly from: "stdin" };

/** The command line or its file is invalid. The message is shown to the user unchanged. */
export class InputError extends Error {
  override readonly name = "InputError";
}

const defaultSpeed = 10;
// Outside these limits a pause would be longer than a timer allows
const minSpeed = 0.001;
const maxRepeat = 86_400;

const usage = `Usage: score-producer [--replay FILE [--match TEXT]] [--speed N|max] [--repeat SECONDS]
       score-producer --stdin
  --replay FILE     play the matches of a file in football.json format (default: a small built-in match)
  --match TEXT      play only the matches whose round or teams contain TEXT
  --speed N|max     minutes of a match per second, or no pauses (default: ${defaultSpeed})
  --repeat SECONDS  start again SECONDS after the last update instead of ending
  --stdin           send score updates from stdin (JSON Lines) as they arrive`;

/**
 * @param args  the arguments after the script
 * @throws {InputError} with all faults and the usage
 */
export function readArguments(args: readonly string[]): Source {
  const { stdin, ...others } = parse(args);
  const { replay, match, speed, repeat } = others;
  if (stdin === true) {
    check(Object.keys(others).map((name) => `--${name} cannot be combined with --stdin.`));
    return { from: "stdin" };
  }
  const pace = { speed: speed === "max" ? Infinity : numberOf(speed ?? defaultSpeed), repeat: numberOf(repeat) };
  check([
    match !== undefined && replay === undefined && "--match needs --replay FILE.",
    replay === "" && "--replay needs a file name.",
    !(pace.speed >= minSpeed) && `--speed must be max or a number of at least ${minSpeed}, not "${speed}".`,
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
    // `pnpm start -- --stdin` passes the dashes on
    return parseArgs({ args: args[0] === "--" ? args.slice(1) : [...args], options }).values;
  } catch (error) {
    throw new InputError(`${error instanceof Error ? error.message : String(error)}\n${usage}`);
  }
}

function check(faults: readonly (string | false)[]): void {
  const found = faults.filter((fault) => fault !== false);
  if (found.length > 0) throw new InputError(`${found.join("\n")}\n${usage}`);
}

function numberOf(text: string | number | undefined): number {
  return text === "" ? NaN : Number(text);
}
