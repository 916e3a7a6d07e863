import { expect, test } from "vitest";
import { readArguments } from "../../src/arguments.ts";

test("Without arguments the built-in match is played once, at ten minutes per second", () => {
  expect(readArguments([])).toEqual({ from: "built-in", pace: { speed: 10, repeat: undefined } });
});

test("Reads a file, a filter for its matches, a speed and a repetition", () => {
  expect(readArguments(["--replay", "cup.json", "--match", "Final", "--speed", "2.5", "--repeat", "30"])).toEqual({
    from: "file",
    file: "cup.json",
    match: "Final",
    pace: { speed: 2.5, repeat: 30 },
  });
  expect(readArguments(["--speed", "max", "--repeat", "0"])).toMatchObject({ pace: { speed: Infinity, repeat: 0 } });
});

test("Ignores the dashes of `pnpm start -- --stdin`", () => {
  expect(readArguments(["--", "--stdin"])).toEqual({ from: "stdin" });
});

test.each([
  [["--stdin", "--replay", "x"], "--replay cannot be combined with --stdin."],
  [["--stdin", "--repeat", "1"], "--repeat cannot be combined with --stdin."],
  [["--match", "Final"], "--match needs --replay FILE."],
  [["--speed", "0"], '--speed must be max or a number of at least 0.001, not "0".'],
  [["--speed", "fast"], 'not "fast"'],
  [["--speed", ""], "--speed must be"],
  [["--speed=-1"], 'not "-1"'],
  [["--repeat", "NaN"], "--repeat must be a number of seconds from 0 to 86400"],
  [["--repeat", "1e9"], "--repeat must be"],
  [["--replay"], "--replay"],
  [["--replay", ""], "--replay needs a file name."],
  [["--sped", "3"], "--sped"],
  [["--help"], "--help"],
  [["cup.json"], "cup.json"],
])("%j is refused with the fault and the usage", (args, message) => {
  expect(() => readArguments(args)).toThrow(message);
  expect(() => readArguments(args)).toThrow("Usage: score-producer");
});

test("All faults are reported together", () => {
  expect(() => readArguments(["--speed", "0", "--repeat", "-"])).toThrow(/--speed must be .*\n--repeat must be /);
});
