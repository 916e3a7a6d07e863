import { expect, test } from "vitest";
import { readArguments } from "../../src/arguments.ts";

test("without arguments the built-in match is played once, at ten minutes a second", () => {
  expect(readArguments([])).toEqual({ from: "built-in", pace: { speed: 10, repeat: undefined } });
});

test("a file, a part of its matches, a speed and a repetition are understood", () => {
  expect(readArguments(["--replay", "cup.json", "--match", "Final", "--speed", "2.5", "--repeat", "30"])).toEqual({
    from: "file",
    file: "cup.json",
    match: "Final",
    pace: { speed: 2.5, repeat: 30 },
  });
  expect(readArguments(["--speed", "max", "--repeat", "0"])).toMatchObject({ pace: { speed: Infinity, repeat: 0 } });
});

test("the dashes of `pnpm start -- --stdin` are nothing", () => {
  expect(readArguments(["--", "--stdin"])).toEqual({ from: "stdin" });
});

test.each([
  [["--stdin", "--replay", "x"], "--replay does not go with --stdin."],
  [["--stdin", "--repeat", "1"], "--repeat does not go with --stdin."],
  [["--match", "Final"], "--match needs --replay FILE."],
  [["--speed", "0"], '--speed must be max or a number from 0.001 up, not "0".'],
  [["--speed", "fast"], 'not "fast"'],
  [["--speed", ""], "--speed must be"],
  [["--speed=-1"], 'not "-1"'],
  [["--repeat", "NaN"], "--repeat must be a number of seconds from 0 to 86400"],
  [["--repeat", "1e9"], "--repeat must be"],
  [["--replay"], "--replay"],
  [["--replay", ""], "--replay needs the name of a file."],
  [["--sped", "3"], "--sped"],
  [["--help"], "--help"],
  [["cup.json"], "cup.json"],
])("%j is refused, with what is wrong and how it is used", (args, message) => {
  expect(() => readArguments(args)).toThrow(message);
  expect(() => readArguments(args)).toThrow("Usage: score-producer");
});

test("all that is wrong is said at once", () => {
  expect(() => readArguments(["--speed", "0", "--repeat", "-"])).toThrow(/--speed must be .*\n--repeat must be /);
});
