import { mkdtempDisposable, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { ScoreUpdate } from "@amqp-idioms/contracts";
import { startProcess } from "@amqp-idioms/local-servers";
import { test } from "@amqp-idioms/local-servers/vitest";
import { expect } from "vitest";
import { listenBare } from "../servers/bare-listener.ts";

const main = `${import.meta.dirname}/../../src/main.ts`;

test("10,000 updates without pauses arrive in order, and none is lost at the exit", async ({ vhost, cleanup }) => {
  const received = await listenBare(vhost);
  const folder = await mkdtempDisposable(join(tmpdir(), "score-producer-"));
  cleanup(folder);
  const goals = Array.from({ length: 9_998 }, (_, minute) => ({ name: `${minute}`, minute: minute % 90 }));
  const file = join(folder.path, "long.json");
  await writeFile(file, JSON.stringify({ matches: [{ team1: "A", team2: "B", goals1: goals }] }));
  const service = cleanup(
    await startProcess({
      main,
      args: ["--replay", file, "--speed", "max"],
      // Without a log line for each update
      env: { AMQP_URL: vhost.url, PORT: "0", LOG_LEVEL: "warn" },
      waitForReady: false,
    }),
  );
  expect(await service.exited).toMatchObject({ code: 0 });
  const scores = (await received()).map((message) => ScoreUpdate.parse(JSON.parse(message.payload)).home.score);
  expect(scores).toEqual([...Array(9_999).keys(), 9_998]);
});
