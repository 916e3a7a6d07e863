import columnsOf from "string-width";
import { expect, test } from "vitest";
import { boardOf, lineOf } from "../../src/text.ts";
import { update } from "./update.ts";

const screen = { columns: 80, rows: 24 };
const characters = (text: string): string[] => [...new Intl.Segmenter().segment(text)].map(({ segment }) => segment);

test("A line joins the two lines of the post", () => {
  expect(lineOf(update())).toBe("AL 24: FL 7  Touch down by Tim Tebow");
});

test("A board has a line per match with aligned columns", () => {
  const updates = [
    update({ home: { team: "Argentina", score: 3 }, away: { team: "France", score: 3 }, event: "Final whistle" }),
    update(),
  ];
  expect(boardOf(updates, screen)).toEqual([
    "Scores",
    "",
    "Argentina    3 : 3    France     Final whistle",
    "       AL   24 : 7    FL         Touch down by Tim Tebow",
  ]);
});

test("A board is aligned with teams whose characters are two columns wide, combined, or of several code points", () => {
  const home = ["日本", "한국", "🇧🇷 Brasil", "Þór Akureyri", "Zoe\u0308", "👩‍👩‍👧 FC"];
  const updates = home.map((team) => update({ home: { team, score: 1 }, away: { team: "FL", score: 0 }, event: "!" }));
  const lines = boardOf(updates, screen).slice(2);
  expect(lines.map((line) => columnsOf(line.slice(0, line.indexOf(":"))))).toEqual(
    home.map(() => "Þór Akureyri".length + 6),
  );
});

test.each(Array.from({ length: 40 }, (_, index) => index + 1))(
  "In %i columns, no character is cut in two, and no line is too wide",
  (columns) => {
    const event = "⚽ Goal by 三浦 👩‍👩‍👧🇧🇷 e\u0301";
    const team = "日本🇯🇵";
    const one = update({ home: { team, score: 1 }, away: { team, score: 0 }, event });
    const whole = boardOf([one], { columns: 200, rows: 24 }).at(-1) ?? "";
    const cut = (boardOf([one], { columns, rows: 24 }).at(-1) ?? "").replace(/…$/, "");
    expect(columnsOf(cut)).toBeLessThan(columns);
    expect(characters(whole).slice(0, characters(cut).length)).toEqual(characters(cut));
  },
);

test("A board without matches says so", () => {
  expect(boardOf([], screen)).toContain("No updates yet.");
});

test.each([
  { columns: 80, rows: 24 },
  { columns: 20, rows: 5 },
  { columns: 1, rows: 1 },
])("A board fits a screen of $columns × $rows", ({ columns, rows }) => {
  const updates = Array.from({ length: 40 }, (_, index) => update({ match: String(index), event: "x".repeat(500) }));
  const lines = boardOf(updates, { columns, rows });
  expect(lines.length).toBeLessThanOrEqual(rows);
  expect(Math.max(...lines.map((line) => columnsOf(line)))).toBeLessThanOrEqual(columns);
});

test("Matches that do not fit on the screen are counted", () => {
  const updates = Array.from({ length: 5 }, (_, index) => update({ match: String(index) }));
  expect(boardOf(updates, { columns: 80, rows: 7 })).toHaveLength(7);
  const lines = boardOf(updates, { columns: 80, rows: 6 });
  expect(lines).toHaveLength(6);
  expect(lines.at(-1)).toBe("and 2 more");
});

test("Received text cannot control a terminal: no escape codes, line breaks or reversed text", () => {
  const evil = "A\u001b[2J\u009b31m\u0007\r\n\u202eB\u2066\u2028C\u007f\u0000D";
  const one = update({ home: { team: evil, score: 1 }, away: { team: evil, score: 2 }, event: evil });
  const controls = /[\p{Cc}\p{Zl}\p{Zp}\u202A-\u202E\u2066-\u2069]/u;
  expect(lineOf(one)).not.toMatch(controls);
  expect(lineOf(one)).toBe("A [2J 31m B C D 1: A [2J 31m B C D 2  A [2J 31m B C D");
  expect(boardOf([one], screen).join("")).not.toMatch(controls);
});
