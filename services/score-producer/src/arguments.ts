import { parseArgs } from "node:util";
import type { Pace } from "./replay.ts";

/** What to send: a file's matches, score updates from stdin, or the built-in match. */
export type Source =
  | { readonly from: "file"; readonly file: string; readonly match: string | undefined; readonly pace: Pace }
  | { readonly from: "built-in"; readonly pace: Pace }
  | { readonly from: "stdin" };

export class WrongArgumentsError extends Error {
  constructor(faults: readonly string[]) {
    super(`${faults.join(" ")}\n${usage}`);
    this.name = "WrongArgumentsError";
  }
}

const defaultSpeed = 10;

const usage = `Usage: score-producer [--replay FILE [--match TEXT]] [--speed N|max] [--repeat SECONDS]
       score-producer --stdin
  --replay FILE     plays the matches of a file in football.json format; without it a small built-in match
  --match TEXT      only those whose round or teams contain TEXT
  --speed N|max     minutes of a match per second, or no pauses at all (default ${defaultSpeed})
  --repeat SECONDS  starts again that long after the last update, instead of ending
  --stdin           sends score updates from stdin, JSON Lines, as they come`;

/**
 * Reads the command line.
 * @param args  without program and script
 * @throws {WrongArgumentsError} naming all that is wrong, and how it is used
 */
export function readArguments(args: readonly string[]): Source {
  const { replay, match, speed, repeat, stdin } = parse(args);
  const faults: string[] = [];
  if (stdin === true) {
    const others = Object.entries({ replay, match, speed, repeat }).filter(([, value]) => value !== undefined);
    faults.push(...others.map(([name]) => `--${name} does not go with --stdin.`));
  }
  if (match !== undefined && replay === undefined && stdin !== true) faults.push("--match needs --replay FILE.");
  if (replay === "") faults.push("--replay needs the name of a file.");
  const pace: Pace = {
    speed: speed === undefined ? defaultSpeed : speed === "max" ? Infinity : Number(speed || NaN),
    repeat: repeat === undefined ? undefined : Number(repeat || NaN),
  };
  if (!(pace.speed >= minSpeed)) faults.push(`--speed must be max or a number from ${minSpeed} up, not "${speed}".`);
  if (pace.repeat !== undefined && !(pace.repeat >= 0 && pace.repeat <= maxRepeat)) {
    faults.push(`--repeat must be a number of seconds from 0 to ${maxRepeat}, not "${repeat}".`);
  }
  if (faults.length > 0) throw new WrongArgumentsError(faults);
  if (stdin === true) return { from: "stdin" };
  return replay === undefined ? { from: "built-in", pace } : { from: "file", file: replay, match, pace };
}

/** Beyond these a pause would be longer than a timer can be. */
const minSpeed = 0.001;
const maxRepeat = 86_400;

function parse(args: readonly string[]) {
  try {
    return parseArgs({
      // `pnpm start -- --stdin` hands the dashes on
      args: args[0] === "--" ? args.slice(1) : [...args],
      options: {
        replay: { type: "string" },
        match: { type: "string" },
        speed: { type: "string" },
        repeat: { type: "string" },
        stdin: { type: "boolean" },
      },
    }).values;
  } catch (error) {
    throw new WrongArgumentsError([error instanceof Error ? error.message : String(error)]);
  }
}
