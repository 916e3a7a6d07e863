import { expect } from "vitest";
import { linesOf, test } from "../roles.ts";

const goal = {
  match: "England - Iran",
  home: { team: "England", score: 1 },
  away: { team: "Iran", score: 0 },
  event: "Goal by Jude Bellingham, 35'",
  at: "2022-11-21T13:35:00Z",
};
const touchDown = {
  match: "AL - FL",
  home: { team: "AL", score: 24 },
  away: { team: "FL", score: 7 },
  event: "Touch down by Tim Tebow",
};

test("score-display shows Python's score updates in text and in JSON, and drops what is not a score update", async ({
  python,
  service,
}) => {
  const display = await service("score-display");
  expect(await python.run("broadcast_send.py")).toMatchObject({ code: 0 });
  await python.run("broadcast_send.py", "AL won");
  await python.run("broadcast_send.py", '{"match": "AL - FL"}');
  await python.run("broadcast_send.py", JSON.stringify(goal));
  const shown = async (): Promise<unknown> => (await fetch(`${display.url}/scores`)).json();
  await expect.poll(shown).toHaveLength(2);
  expect(await shown()).toEqual(expect.arrayContaining([expect.objectContaining(touchDown), goal]));
});

test("A Python listener receives score-producer's updates while it listens, and none after it has left (pitfall 80)", async ({
  python,
  service,
}) => {
  const leaver = await python.start("broadcast_listen.py");
  const stayer = await python.start("broadcast_listen.py");
  const producer = await service("score-producer", "--stdin");
  producer.write(`${JSON.stringify(goal)}\n`);
  await expect.poll(() => linesOf(leaver)).toEqual(["England 1: Iran 0", goal.event]);
  expect(await leaver.stop({ signal: "SIGINT" })).toMatchObject({ code: 0 });
  producer.write(`${JSON.stringify({ ...goal, away: { team: "Iran", score: 1 }, event: "1:1" })}\n`);
  await expect.poll(() => linesOf(stayer)).toEqual(["England 1: Iran 0", goal.event, "England 1: Iran 1", "1:1"]);
  expect(linesOf(leaver)).toHaveLength(2);
});
