import { expect, test } from "vitest";
import type { Match } from "../../src/football-json.ts";
import { matchesWith } from "../../src/updates.ts";

const matches = [
  match("Semi-finals", "Argentina", "Croatia"),
  match("Final", "Argentina", "France"),
  match(undefined, "Old Mill", "Seaside"),
];

test.each([
  [undefined, ["Croatia", "France", "Seaside"]],
  ["Argentina", ["Croatia", "France"]],
  ["France", ["France"]],
  ["Argentina - France", ["France"]],
  ["old mill", ["Seaside"]],
  ["final", ["Croatia"]],
])("%j selects the matches whose round or teams contain it", (text, away) => {
  expect(matchesWith(text, matches).map((match) => match.away)).toEqual(away);
});

test("A case-sensitive match comes first: Final is not a semi-final", () => {
  expect(matchesWith("Final", matches).map(({ away }) => away)).toEqual(["France"]);
});

test("No such match is an error that names an existing match", () => {
  expect(() => matchesWith("Brazil", matches)).toThrow(
    'none of its 3 matches contains "Brazil"; the first match is "Semi-finals: Argentina - Croatia"',
  );
  expect(() => matchesWith(undefined, [])).toThrow("no match that was played");
});

function match(round: string | undefined, home: string, away: string): Match {
  return { round, home, away, goals: [], result: [0, 0], hadExtraTime: false, shootOut: undefined };
}
