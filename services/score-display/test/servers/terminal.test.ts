import { spawnSync } from "node:child_process";
import { expect } from "vitest";
import { scoreUpdates, system } from "@amqp-idioms/contracts";
import { startProcess } from "@amqp-idioms/local-servers";
import type { ServiceProcess } from "@amqp-idioms/local-servers";
import { test } from "@amqp-idioms/local-servers/vitest";
import { connect } from "amqp-kit";
import { update } from "../unit/update.ts";
import { screenAfter } from "./screen.ts";

const main = `${import.meta.dirname}/../../src/main.ts`;

test("On a terminal the board is redrawn below the log, and neither breaks the other", async ({
  vhost,
  cleanup,
  skip,
}) => {
  if (spawnSync("script", ["--version"]).status !== 0) skip("needs script, of util-linux: apt-get install bsdutils");
  // "script" gives its command a terminal
  const command = `stty cols 60 rows 12; exec '${process.execPath}' '${main}'`;
  const service = cleanup(
    await startProcess({
      command: "script",
      args: ["--quiet", "--flush", "--return", "--command", command, "/dev/null"],
      env: { AMQP_URL: vhost.url, PORT: "0", TERM: "xterm" },
    }),
  );
  await expect.poll(() => screenOf(service).join("\n")).toMatch(/ready[^]*Scores\n\nNo updates yet\./);

  const amqp = cleanup(await connect(vhost.url, { system, service: "score-producer" }));
  await amqp.broadcast(scoreUpdates, update({ event: "Kick-off" }));
  // Something to log between two updates
  await vhost.management.publish(vhost.name, { exchange: "score_updates", body: "no score" });
  const wide = { team: "東京\u001b[2J", score: 1 };
  await amqp.broadcast(scoreUpdates, update({ match: "wide", home: wide, event: "x".repeat(100) }));
  await expect.poll(() => screenOf(service).join("\n")).toContain("東京");
  const screen = screenOf(service);
  const top = screen.indexOf("Scores");
  const log = screen.slice(0, top).join("\n");
  expect(log).toMatch(/connected[^]*ready[^]*messages dropped/);
  expect(screen.slice(top)).toEqual([
    "Scores",
    "",
    expect.stringMatching(/^東京 \[2J    1 : 7    FL {8}x+…$/),
    "      AL   24 : 7    FL        Kick-off",
  ]);
});

function screenOf(service: ServiceProcess): string[] {
  return screenAfter(service.lines.map(({ text }) => `${text}\r\n`).join(""));
}
