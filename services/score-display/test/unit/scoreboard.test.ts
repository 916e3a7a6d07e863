import { expect, test } from "vitest";
import { Scoreboard } from "../../src/scoreboard.ts";
import { update } from "./update.ts";

test("The board has the newest update of each match, the last arrival first (pitfall 79)", () => {
  const scoreboard = new Scoreboard();
  scoreboard.show(update({ match: "A", event: "Kick-off" }));
  scoreboard.show(update({ match: "B", event: "Kick-off" }));
  scoreboard.show(update({ match: "A", event: "Goal" }));
  expect(scoreboard.newest().map(({ match, event }) => [match, event])).toEqual([
    ["A", "Goal"],
    ["B", "Kick-off"],
  ]);
});

test("The last arrival is the newest, whatever the sender's clock says", () => {
  const scoreboard = new Scoreboard();
  scoreboard.show(update({ event: "first", at: "2026-01-02T00:00:00Z" }));
  scoreboard.show(update({ event: "second", at: "2026-01-01T00:00:00Z" }));
  expect(scoreboard.newest().map(({ event }) => event)).toEqual(["second"]);
});

test("The board keeps the matches with the latest updates when there are too many", () => {
  const scoreboard = new Scoreboard(3);
  for (const match of ["A", "B", "C", "A", "D", "E"]) scoreboard.show(update({ match }));
  expect(scoreboard.newest().map(({ match }) => match)).toEqual(["E", "D", "A"]);
});

test("The newest update of each match since an id comes in the order of arrival", () => {
  const scoreboard = new Scoreboard();
  for (const match of ["A", "B", "A", "C"]) scoreboard.show(update({ match }));
  const since = (id: number): unknown[] => scoreboard.since(id).map(({ id, update }) => [id, update.match]);
  expect(since(0)).toEqual([
    [2, "B"],
    [3, "A"],
    [4, "C"],
  ]);
  expect(since(3)).toEqual([[4, "C"]]);
  expect(since(scoreboard.lastId)).toEqual([]);
});
