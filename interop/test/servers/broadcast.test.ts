import { expect } from "vitest";
import { heard, test } from "../roles.ts";

const goal = {
  match: "England - Iran",
  home: { team: "England", score: 1 },
  away: { team: "Iran", score: 0 },
  event: "Goal by Jude Bellingham, 35'",
  at: "2022-11-21T13:35:00Z",
};

test("Python broadcasts the post's two lines, and score-display shows them", async ({ python, service }) => {
  const display = await service("score-display");
  expect(await python.run("broadcast_send.py")).toMatchObject({ code: 0 });
  await expect
    .poll(async () => (await fetch(`${display.url}/scores`)).json())
    .toMatchObject([
      {
        match: "AL - FL",
        home: { team: "AL", score: 24 },
        away: { team: "FL", score: 7 },
        event: "Touch down by Tim Tebow",
      },
    ]);
});

test("Python broadcasts JSON, and score-display shows it; what is no score it leaves out", async ({
  python,
  service,
}) => {
  const display = await service("score-display");
  await python.run("broadcast_send.py", "AL won");
  await python.run("broadcast_send.py", '{"match": "AL - FL"}');
  await python.run("broadcast_send.py", JSON.stringify(goal));
  await expect.poll(async () => (await fetch(`${display.url}/scores`)).json()).toEqual([goal]);
});

test("score-producer broadcasts, and Python hears it as long as it listens (pitfall 80)", async ({
  python,
  service,
}) => {
  const leaver = await python.start("broadcast_listen.py");
  const stayer = await python.start("broadcast_listen.py");
  const producer = await service("score-producer", "--stdin");
  producer.write(`${JSON.stringify(goal)}\n`);
  await expect.poll(() => heard(leaver)).toEqual(["England 1: Iran 0", goal.event]);
  expect(await leaver.stop({ signal: "SIGINT" })).toMatchObject({ code: 0 });
  producer.write(`${JSON.stringify({ ...goal, away: { team: "Iran", score: 1 }, event: "1:1" })}\n`);
  await expect.poll(() => heard(stayer)).toEqual(["England 1: Iran 0", goal.event, "England 1: Iran 1", "1:1"]);
  expect(heard(leaver)).toHaveLength(2);
});

test("each sender is heard by listeners in both languages", async ({ python, typescript }) => {
  const listeners = [await python.start("broadcast_listen.py"), await typescript.start("broadcast-listen.ts")];
  expect(await typescript.run("broadcast-send.ts")).toMatchObject({ code: 0 });
  expect(await python.run("broadcast_send.py")).toMatchObject({ code: 0 });
  const once = ["AL 24: FL 7", "Touch down by Tim Tebow"];
  for (const listener of listeners) {
    await expect.poll(() => heard(listener)).toEqual([...once, ...once]);
    expect(await listener.stop({ signal: "SIGINT" })).toMatchObject({ code: 0 });
  }
});
