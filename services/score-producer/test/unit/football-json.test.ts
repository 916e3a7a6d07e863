import { expect, test } from "vitest";
import { readMatches } from "../../src/football-json.ts";

test.for([{ score: { ft: null } }, { score: null }, {}])(
  "a match without a result, %j, was not played, and the others are read",
  (unplayed) => {
    const teams = { team1: "Home", team2: "Away" };
    const matches = [
      { ...teams, ...unplayed },
      { ...teams, score: { ft: [1, 0] } },
    ];
    expect(readMatches(JSON.stringify({ matches })).length).toBe(1);
  },
);

test("Reads both forms of stoppage time, and a minute as a number or text", () => {
  expect(
    goalsOf({
      goals1: [
        { name: "A", minute: 90, offset: 4 },
        { name: "B", minute: "90+5" },
        { name: "C", minute: "7" },
        { name: "D", minute: 8 },
      ],
    }),
  ).toEqual(["home C 7+0 goal", "home D 8+0 goal", "home A 90+4 goal", "home B 90+5 goal"]);
});

test("The goals of both teams are in the order of their minutes, with stoppage time before the next half", () => {
  expect(
    goalsOf({
      goals1: [
        { name: "A", minute: 108 },
        { name: "B", minute: 46 },
        { name: "C", minute: "45+10" },
      ],
      goals2: [
        { name: "D", minute: 45, offset: 2 },
        { name: "E", minute: 2 },
        { name: "F", minute: "90+11" },
      ],
    }),
  ).toEqual([
    "away E 2+0 goal",
    "away D 45+2 goal",
    "home C 45+10 goal",
    "home B 46+0 goal",
    "away F 90+11 goal",
    "home A 108+0 goal",
  ]);
});

test("Goals in the same minute keep the order of the file, the home team's first", () => {
  expect(
    goalsOf({
      goals1: [
        { name: "A", minute: 5 },
        { name: "B", minute: 5 },
      ],
      goals2: [{ name: "C", minute: "5" }],
    }),
  ).toEqual(["home A 5+0 goal", "home B 5+0 goal", "away C 5+0 goal"]);
});

test("An own goal counts for the team under which it is listed, and penalties are marked", () => {
  expect(
    goalsOf({
      goals1: [{ name: "Of the away team", minute: 40, owngoal: true }],
      goals2: [{ name: "Taker", minute: 50, penalty: true }],
    }),
  ).toEqual(["home Of the away team 40+0 own goal", "away Taker 50+0 penalty"]);
});

test("A match without goals has empty lists or no lists", () => {
  expect(goalsOf({ score: { ft: [0, 0] } })).toEqual([]);
  expect(goalsOf({ score: { ft: [0, 0] }, goals1: [], goals2: [] })).toEqual([]);
});

test("The result is the one after extra time, without the shoot-out", () => {
  const [match] = read({ score: { p: [4, 2], et: [3, 3], ft: [2, 2], ht: [2, 0] } });
  expect(match).toMatchObject({ result: [3, 3], shootOut: [4, 2], hadExtraTime: true });
});

test("Matches that were not played are left out, and unknown fields are ignored", () => {
  const text = JSON.stringify({
    name: "A cup",
    matches: [
      { ...teams, date: "2030-01-01", time: "13:00 UTC-6" },
      { ...teams, team1: "Played", score: { ft: [1, 0], ht: [0, 0] }, ground: "Somewhere" },
    ],
  });
  expect(readMatches(text).map(({ home }) => home)).toEqual(["Played"]);
});

test.for([
  { goals1: [], goals2: [] },
  { score: {}, goals1: [], goals2: [] },
  { status: "cancelled", score: {} },
  { status: "canceled", score: { ft: [0, 0] } },
  { status: "postponed", score: { ft: [0, 0] } },
  { status: "abandoned", score: { ft: [1, 0] } },
  { status: "awarded", score: { ft: [0, 3] } },
])("A match that was not played, %j, is left out", (unplayed) => {
  expect(read(unplayed)).toEqual([]);
});

test("A match with another status was played", () => {
  expect(read({ status: "finished", score: { ft: [0, 3] } })).toMatchObject([{ result: [0, 3] }]);
});

test("The result alone, as a list, is the one after 90 minutes", () => {
  expect(read({ score: [2, 0] })).toMatchObject([{ result: [2, 0], hadExtraTime: false, shootOut: undefined }]);
});

test("Reads the older form: a list of rounds, and teams as objects", () => {
  const [team1, team2] = [{ name: "Northvale", code: "NOR" }, { name: "Southport" }];
  const matches = [{ num: 1, team1, team2, score: { ft: [0, 1] } }];
  const text = JSON.stringify({
    name: "A cup",
    rounds: [
      { name: "Matchday 1", matches },
      { name: "Final", matches },
    ],
  });
  const read = { home: "Northvale", away: "Southport", result: [0, 1] };
  expect(readMatches(text)).toMatchObject([
    { ...read, round: "Matchday 1" },
    { ...read, round: "Final" },
  ]);
  expect(() => readMatches('{"rounds": [{"name": "Final", "matches": [null]}]}')).toThrow("match 1, team1: ");
});

test("With the result after 90 minutes only, the minute 92 is stoppage time", () => {
  const goals = { goals1: [{ name: "A", minute: "92" }], goals2: [{ name: "B", minute: 91, offset: 2 }] };
  expect(read({ ...goals, score: { ft: [1, 1] } })).toMatchObject([
    {
      hadExtraTime: false,
      goals: [
        { scorer: "A", minute: 90, stoppage: 2 },
        { scorer: "B", minute: 90, stoppage: 3 },
      ],
    },
  ]);
  const [extraTime] = read({ ...goals, score: { ft: [0, 0], et: [1, 1] } });
  expect(extraTime).toMatchObject({ hadExtraTime: true, goals: [{ minute: 91 }, { minute: 92 }] });
  expect(read(goals)).toMatchObject([{ hadExtraTime: true }]);
});

test("A goal after the minute 105 was in extra time, even if the file has one result only", () => {
  const goals = { goals1: [{ name: "A", minute: "51" }], goals2: [{ name: "B", minute: "119" }] };
  expect(read({ ...goals, score: { ft: [1, 1] } })).toMatchObject([
    { hadExtraTime: true, goals: [{ minute: 51 }, { scorer: "B", minute: 119, stoppage: 0 }] },
  ]);
});

test("A byte order mark before the JSON is ignored", () => {
  expect(readMatches(`\uFEFF${JSON.stringify({ matches: [{ ...teams, score: { ft: [0, 0] } }] })}`)).toHaveLength(1);
});

test("Invalid JSON is an error with its line", () => {
  expect(() => readMatches('{"matches": [\n  {]\n}')).toThrow(/not JSON: .*line 2/);
  expect(() => readMatches("")).toThrow("not JSON");
});

test("A file of another format is an error", () => {
  expect(() => readMatches('{"teams": []}')).toThrow('not football.json: the list "matches" or "rounds" is missing');
  expect(() => readMatches("[]")).toThrow('the list "matches" or "rounds" is missing');
});

test("All invalid matches are reported together, each with its number and field", () => {
  const text = JSON.stringify({
    matches: [
      { ...teams, score: { ft: [0, 0] } },
      { ...teams, team2: "" },
      null,
      {
        ...teams,
        goals1: [
          { name: "A", minute: 3 },
          { name: "B", minute: "half past" },
        ],
      },
      { ...teams, score: { ft: [1, -1] } },
    ],
  });
  expect(() => readMatches(text)).toThrow(
    /match 2, team2: .*; match 3, the whole match: .*; match 4, goals1\.1\.minute: must be a minute such as 90 or "90\+4"; match 5, score\.ft\.1: /,
  );
});

test("The first ten faults are listed and the others are counted", () => {
  const text = JSON.stringify({ matches: Array.from({ length: 25 }, () => 7) });
  expect(() => readMatches(text)).toThrow(/match 10, the whole match: [^;]*; and 15 more$/);
});

const teams = { round: "Final", team1: "Home", team2: "Away" };

function read(match: object): ReturnType<typeof readMatches> {
  return readMatches(JSON.stringify({ matches: [{ ...teams, ...match }] }));
}

function goalsOf(match: object): string[] {
  return read(match).flatMap(({ goals }) =>
    goals.map(({ side, scorer, minute, stoppage, kind }) => `${side} ${scorer} ${minute}+${stoppage} ${kind}`),
  );
}
