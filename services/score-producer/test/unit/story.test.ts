import { expect, test } from "vitest";
import { ScoreUpdate } from "@amqp-idioms/contracts";
import { builtInMatch } from "../../src/built-in-match.ts";
import type { Match } from "../../src/football-json.ts";
import { storyOf } from "../../src/story.ts";

const match: Match = {
  round: "Final",
  home: "Argentina",
  away: "France",
  goals: [
    { side: "home", scorer: "Lionel Messi", minute: 23, stoppage: 0, kind: "penalty" },
    { side: "away", scorer: "Cristian Romero", minute: 45, stoppage: 3, kind: "own goal" },
    { side: "away", scorer: "Kylian Mbappé", minute: 46, stoppage: 0, kind: "goal" },
    { side: "home", scorer: "Lionel Messi", minute: 108, stoppage: 0, kind: "goal" },
    { side: "away", scorer: "Kylian Mbappé", minute: 118, stoppage: 0, kind: "penalty" },
  ],
  result: [2, 3],
  hadExtraTime: true,
  shootOut: [4, 2],
};

test("A match has updates for the kick-off, each goal and the final whistle, with the current score", () => {
  expect(told(match)).toEqual([
    "0:0 Kick-off",
    "1:0 Goal by Lionel Messi, 23' (penalty)",
    "1:1 Goal by Cristian Romero, 45+3' (own goal)",
    "1:2 Goal by Kylian Mbappé, 46'",
    "2:2 Goal by Lionel Messi, 108'",
    "2:3 Goal by Kylian Mbappé, 118' (penalty)",
    "2:3 Final whistle after extra time, Argentina win 4-2 on penalties",
  ]);
});

test("A shoot-out does not change the score", () => {
  expect(told({ ...match, goals: [], result: [1, 1], shootOut: [1, 3] }).at(-1)).toBe(
    "1:1 Final whistle after extra time, France win 3-1 on penalties",
  );
});

test("A match without goals has updates for the kick-off and the final whistle", () => {
  expect(told({ ...match, goals: [], result: [0, 0], hadExtraTime: false, shootOut: undefined })).toEqual([
    "0:0 Kick-off",
    "0:0 Final whistle",
  ]);
});

test("The final whistle has the result when the file has no goals", () => {
  expect(told({ ...match, goals: [], result: [2, 1], hadExtraTime: false, shootOut: undefined })).toEqual([
    "0:0 Kick-off",
    "2:1 Final whistle",
  ]);
});

test("The final whistle has the file's result even if its goals do not add up to it", () => {
  const goals: Match["goals"] = [{ side: "home", scorer: "A", minute: 4, stoppage: 0, kind: "goal" }];
  expect(told({ ...match, goals, result: [0, 1], hadExtraTime: false, shootOut: undefined })).toEqual([
    "0:0 Kick-off",
    "1:0 Goal by A, 4'",
    "0:1 Final whistle",
  ]);
});

test("The minutes between two updates are those of the match, and never negative", () => {
  expect(storyOf(match).map(({ minutesBefore }) => minutesBefore)).toEqual([0, 23, 25, 1, 62, 10, 2]);
  const late: Match["goals"] = [
    { side: "home", scorer: "A", minute: 90, stoppage: 4, kind: "goal" },
    { side: "home", scorer: "B", minute: 90, stoppage: 11, kind: "goal" },
  ];
  const story = storyOf({ ...match, goals: late, hadExtraTime: false });
  expect(story.map(({ minutesBefore }) => minutesBefore)).toEqual([0, 94, 7, 0]);
});

test("A match is named by its round and teams, so that two matches of the same teams differ", () => {
  expect(storyOf(match)[0]?.update.match).toBe("Final: Argentina - France");
  expect(storyOf({ ...match, round: undefined })[0]?.update.match).toBe("Argentina - France");
});

test("The built-in match ends with its result, and its updates are valid", () => {
  const story = storyOf(builtInMatch);
  const last = story.at(-1)?.update;
  expect([last?.home.score, last?.away.score]).toEqual(builtInMatch.result);
  const at = "2026-01-01T12:00:00.000Z";
  expect(story.map(({ update }) => ScoreUpdate.safeParse({ ...update, at }).success)).not.toContain(false);
});

function told(match: Match): string[] {
  return storyOf(match).map(({ update }) => `${update.home.score}:${update.away.score} ${update.event}`);
}
