import { mkdtempDisposable, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect } from "vitest";
import { ScoreUpdate } from "@amqp-idioms/contracts";
import { startProcess } from "@amqp-idioms/local-servers";
import type { FetchedMessage, ServiceProcess } from "@amqp-idioms/local-servers";
import { test } from "@amqp-idioms/local-servers/vitest";
import { listenBare } from "./bare-listener.ts";

const main = `${import.meta.dirname}/../../src/main.ts`;
const cup = `${import.meta.dirname}/../fixtures/cup.json`;

test("Sends a match from kick-off to final whistle to a listener without amqp-kit, and exits 0", async ({
  vhost,
  cleanup,
}) => {
  const received = await listenBare(vhost);
  const service = cleanup(await start(vhost.url, "--replay", cup, "--match", "Final", "--speed", "max"));
  expect(await service.exited).toMatchObject({ code: 0 });
  const messages = await received();
  expect(messages.map(describe)).toEqual([
    "0:0 Kick-off",
    "0:1 Goal by Nora Okafor, 12'",
    "1:1 Goal by Mette Lund, 45+2' (own goal)",
    "1:2 Goal by Nora Okafor, 46'",
    "2:2 Goal by Zoé Ångström, 90+4' (penalty)",
    "3:2 Goal by Rosa Pereira, 108'",
    "3:3 Goal by Ida Holm, 118' (penalty)",
    "3:3 Final whistle after extra time, Lighthouse win 4-3 on penalties",
  ]);
  expect(messages[0]?.properties).toMatchObject({
    content_type: "application/json",
    type: "score_updates",
    app_id: "score-producer",
    delivery_mode: 1,
    message_id: expect.any(String),
    timestamp: expect.any(Number),
  });
});

test("Without arguments it is ready, plays the built-in match, and exits 0 after the last update", async ({
  vhost,
  cleanup,
}) => {
  const received = await listenBare(vhost);
  const service = cleanup(
    await startProcess({ main, args: ["--speed", "60"], env: { AMQP_URL: vhost.url, PORT: "0" } }),
  );
  expect((await fetch(`${service.url}/livez`)).status).toBe(200);
  expect((await fetch(`${service.url}/readyz`)).status).toBe(200);
  expect(await service.exited).toMatchObject({ code: 0 });
  const messages = await received();
  expect(messages).toHaveLength(7);
  expect(describe(messages.at(-1))).toBe("3:2 Final whistle");
});

test("Sends score updates from stdin as they arrive, and exits 0 at its end", async ({ vhost, cleanup }) => {
  const received = await listenBare(vhost);
  const service = cleanup(await startProcess({ main, args: ["--stdin"], env: { AMQP_URL: vhost.url, PORT: "0" } }));
  service.write(`${line("one")}\n`);
  const events: string[] = [];
  const receive = async (): Promise<string[]> => {
    events.push(...(await received()).map((message) => updateOf(message).event));
    return events;
  };
  await expect.poll(receive).toEqual(["one"]);
  service.write(line("two"));
  service.endInput();
  expect(await service.exited).toMatchObject({ code: 0 });
  expect(await receive()).toEqual(["one", "two"]);
});

test("An invalid line of stdin is logged with its number, and the following lines are sent", async ({
  vhost,
  cleanup,
}) => {
  const received = await listenBare(vhost);
  const service = cleanup(await start(vhost.url, "--stdin"));
  service.write(`${line("one")}\n{"match": "secretive\n\n${line("two").replace('"score":2', '"score":"secretive"')}\n`);
  service.write(`${line("three")}\n`);
  service.endInput();
  expect(await service.exited).toMatchObject({ code: 0 });
  expect((await received()).map((message) => updateOf(message).event)).toEqual(["one", "three"]);
  const errors = service.lines.filter(({ json }) => json?.["level"] === "error");
  expect(errors.map(({ json }) => json)).toMatchObject([
    { line: 2, msg: "invalid score update in line 2 of stdin: not JSON" },
    { line: 4, msg: expect.stringMatching(/^invalid score update in line 4 of stdin: home: score: /) },
  ]);
  expect(output(service)).not.toContain("secretive");
  expect(service.lines.find(({ json }) => json?.["msg"] === "all updates sent")?.json).toMatchObject({
    sent: 2,
    invalidLines: 2,
  });
});

test("--repeat starts again until the process is stopped, and a stop in the middle of a match is graceful", async ({
  vhost,
  cleanup,
}) => {
  const received = await listenBare(vhost);
  const again = cleanup(await start(vhost.url, "--speed", "max", "--repeat", "0.01"));
  const kickOffs = async (): Promise<number> =>
    (await received()).filter((message) => updateOf(message).event === "Kick-off").length;
  await expect.poll(kickOffs).toBeGreaterThan(2);
  expect(await again.stop()).toMatchObject({ code: 0 });

  const slow = cleanup(
    await startProcess({ main, args: ["--speed", "0.01"], env: { AMQP_URL: vhost.url, PORT: "0" } }),
  );
  const { code, ms } = await slow.stop({ signal: "SIGINT" });
  expect(code).toBe(0);
  expect(ms).toBeLessThan(3_000);

  const waiting = cleanup(await startProcess({ main, args: ["--stdin"], env: { AMQP_URL: vhost.url, PORT: "0" } }));
  expect(await waiting.stop()).toMatchObject({ code: 0 });
});

test("Invalid files and arguments are reported before anything is sent, with exit code 1", async ({
  vhost,
  cleanup,
}) => {
  const folder = await mkdtempDisposable(join(tmpdir(), "score-producer-"));
  cleanup(folder);
  const file = join(folder.path, "wrong.json");
  const wrong = { matches: [{ team1: "A", team2: "B", goals1: [{ name: "C", minute: "late" }] }] };
  await writeFile(file, JSON.stringify(wrong));
  const received = await listenBare(vhost);
  const runs = [
    { args: ["--replay", file], says: 'match 1, goals1.0.minute: must be a minute such as 90 or "90+4"' },
    { args: ["--replay", join(folder.path, "none.json")], says: "no such file" },
    { args: ["--replay", cup, "--match", "Brazil"], says: 'contains "Brazil"' },
    { args: ["--sped", "2"], says: "Usage: score-producer" },
  ];
  for (const { args, says } of runs) {
    const service = cleanup(await start(vhost.url, ...args));
    expect(await service.exited).toMatchObject({ code: 1 });
    expect(output(service)).toContain(says);
    expect(output(service)).not.toContain("    at ");
  }
  expect(await received()).toEqual([]);
});

/** Starts the service as a user does. It may end before it is ready. */
function start(url: string, ...args: string[]): Promise<ServiceProcess> {
  return startProcess({ main, args, env: { AMQP_URL: url, PORT: "0" }, waitForReady: false });
}

function updateOf(message: FetchedMessage | undefined): ScoreUpdate {
  return ScoreUpdate.parse(JSON.parse(message?.payload ?? ""));
}

function describe(message: FetchedMessage | undefined): string {
  const { home, away, event } = updateOf(message);
  return `${home.score}:${away.score} ${event}`;
}

function line(event: string): string {
  const home = { team: "A", score: 2 };
  return JSON.stringify({ match: "A - B", home, away: { team: "B", score: 0 }, event, at: "2026-01-01T12:00:00Z" });
}

function output(service: ServiceProcess): string {
  return service.lines.map(({ text }) => text).join("\n");
}
