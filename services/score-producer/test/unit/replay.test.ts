import { expect, test } from "vitest";
import type { ScoreUpdate } from "@amqp-idioms/contracts";
import { builtInMatch } from "../../src/built-in-match.ts";
import { replay } from "../../src/replay.ts";
import { storyOf } from "../../src/story.ts";

const story = storyOf(builtInMatch);
const running = new AbortController().signal;

test("A match takes its minutes divided by the speed", async () => {
  const begun = performance.now();
  const updates = await all(replay([story], { speed: 900, repeat: undefined }, running));
  // 94 minutes, and a pause never ends early by more than a timer's rounding
  expect(performance.now() - begun).toBeGreaterThan(95);
  expect(updates.map(({ event }) => event)).toEqual(story.map(({ update }) => update.event));
});

test("Each update has the time at which it was sent", async () => {
  const before = new Date().toISOString();
  const updates = await all(replay([story], { speed: 3_000, repeat: undefined }, running));
  const times = [before, ...updates.map(({ at }) => at), new Date().toISOString()].map((at) => Date.parse(at));
  expect(times).toEqual(times.toSorted((one, other) => one - other));
  expect(times[1]).not.toBe(times.at(-2));
});

test("Matches follow one another, and start again with --repeat", async () => {
  const stories = [story, storyOf({ ...builtInMatch, round: "Second leg" })];
  const heard: string[] = [];
  for await (const { match } of replay(stories, { speed: Infinity, repeat: 0 }, running)) {
    if (heard.at(-1) !== match) heard.push(match);
    if (heard.length === 5) break;
  }
  expect(heard.map((match) => match.split(":")[0])).toEqual([
    "Harbour Cup",
    "Second leg",
    "Harbour Cup",
    "Second leg",
    "Harbour Cup",
  ]);
});

test("The signal ends a pause, and a replay without pauses", async () => {
  for (const pace of [
    { speed: 0.001, repeat: undefined },
    { speed: Infinity, repeat: 86_400 },
    { speed: Infinity, repeat: 0 },
  ]) {
    const stopping = new AbortController();
    const updates = replay([story], pace, stopping.signal);
    setTimeout(() => stopping.abort(), 20);
    await expect(all(updates)).rejects.toThrow(/abort/i);
  }
});

async function all(updates: AsyncIterable<ScoreUpdate>): Promise<ScoreUpdate[]> {
  const heard: ScoreUpdate[] = [];
  for await (const update of updates) heard.push(update);
  return heard;
}
