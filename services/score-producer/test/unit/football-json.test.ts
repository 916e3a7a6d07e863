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

test("both forms of stoppage time are understood, and a minute may be a number or text", () => {
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

test("goals come in the order of the match's minutes across both teams, stoppage time before the next half", () => {
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

test("goals of one minute stay as the file has them, the home team's first", () => {
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

test("an own goal counts for the team that it is listed under; penalties are told apart", () => {
  expect(
    goalsOf({
      goals1: [{ name: "Of the away team", minute: 40, owngoal: true }],
      goals2: [{ name: "Taker", minute: 50, penalty: true }],
    }),
  ).toEqual(["home Of the away team 40+0 own goal", "away Taker 50+0 penalty"]);
});

test("a match without goals has none, with empty lists or without lists", () => {
  expect(goalsOf({ score: { ft: [0, 0] } })).toEqual([]);
  expect(goalsOf({ score: { ft: [0, 0] }, goals1: [], goals2: [] })).toEqual([]);
});

test("result and shoot-out are read apart, and the result is the one after extra time", () => {
  const [match] = read({ score: { p: [4, 2], et: [3, 3], ft: [2, 2], ht: [2, 0] } });
  expect(match).toMatchObject({ result: [3, 3], shootOut: [4, 2], hadExtraTime: true });
});

test("matches that were not played yet are left out, unknown fields are ignored", () => {
  const text = JSON.stringify({
    name: "A cup",
    matches: [
      { ...teams, date: "2030-01-01", time: "13:00 UTC-6" },
      { ...teams, team1: "Played", score: { ft: [1, 0], ht: [0, 0] }, ground: "Somewhere" },
    ],
  });
  expect(readMatches(text).map(({ home }) => home)).toEqual(["Played"]);
});

test("a byte order mark before the JSON does no harm", () => {
  expect(readMatches(`\uFEFF${JSON.stringify({ matches: [{ ...teams, goals1: [] }] })}`)).toHaveLength(1);
});

test("broken JSON is an error with its line", () => {
  expect(() => readMatches('{"matches": [\n  {]\n}')).toThrow(/not JSON: .*line 2/);
  expect(() => readMatches("")).toThrow("not JSON");
});

test("a file that is something else is an error", () => {
  expect(() => readMatches('{"rounds": []}')).toThrow('not football.json: the list "matches" is missing');
  expect(() => readMatches("[]")).toThrow('the list "matches" is missing');
});

test("each wrong match is named with its number and field, all at once", () => {
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

test("of very many faults the first ten are named and the others counted", () => {
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
