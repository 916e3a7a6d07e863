import { expect } from "vitest";
import { scoreUpdates, system } from "@amqp-idioms/contracts";
import { startProcess } from "@amqp-idioms/local-servers";
import type { ServiceProcess, VirtualHost } from "@amqp-idioms/local-servers";
import { test } from "@amqp-idioms/local-servers/vitest";
import { connect } from "amqp-kit";
import { update } from "../unit/update.ts";

const main = `${import.meta.dirname}/../../src/main.ts`;
const display = (url: string): Promise<ServiceProcess> => startProcess({ main, env: { AMQP_URL: url, PORT: "0" } });
const sender = (url: string) => connect(url, { system, service: "score-producer" });

test("is ready once it listens, and stops in good order", async ({ vhost, cleanup }) => {
  for (const signal of ["SIGTERM", "SIGINT"] as const) {
    const service = cleanup(await display(vhost.url));
    expect((await fetch(`${service.url}/livez`)).status).toBe(200);
    expect((await fetch(`${service.url}/readyz`)).status).toBe(200);
    expect(await service.stop({ signal })).toMatchObject({ code: 0 });
  }
});

test("prints each update as a line, in order, and serves the newest of each match", async ({ vhost, cleanup }) => {
  const service = cleanup(await display(vhost.url));
  const amqp = cleanup(await sender(vhost.url));
  const kickOff = update({ match: "Final", home: { team: "Zoé", score: 0 }, event: "Kick-off" });
  const goal = { ...kickOff, home: { team: "Zoé", score: 1 }, event: "Goal by É, 90+4'" };
  for (const one of [kickOff, update(), goal]) await amqp.broadcast(scoreUpdates, one);
  await expect.poll(() => scores(service)).toEqual([goal, update()]);
  expect(printed(service)).toEqual([
    "Zoé 0: FL 7  Kick-off",
    "AL 24: FL 7  Touch down by Tim Tebow",
    "Zoé 1: FL 7  Goal by É, 90+4'",
  ]);
});

test("each display shows just what was said while it listened", async ({ vhost, cleanup }) => {
  const amqp = cleanup(await sender(vhost.url));
  const first = cleanup(await display(vhost.url));
  const second = cleanup(await display(vhost.url));
  await amqp.broadcast(scoreUpdates, update({ event: "one" }));
  await expect.poll(() => printed(second)).toHaveLength(1);
  await second.stop();
  await amqp.broadcast(scoreUpdates, update({ event: "two" }));
  const third = cleanup(await display(vhost.url));
  await amqp.broadcast(scoreUpdates, update({ event: "three" }));
  await expect
    .poll(() => [first, second, third].map(shownEvents))
    .toEqual([["one", "two", "three"], ["one"], ["three"]]);
});

test("shows what a bare sender says, in JSON and as the text of the 2009 post", async ({ vhost, cleanup }) => {
  const service = cleanup(await display(vhost.url));
  const text = "AL 24: FL 7\nTouch down by Tim Tebow";
  const newer = { ...update({ event: "in JSON" }), addedByANewerSender: true };
  await say(vhost, text);
  await say(vhost, text.replace("24", "31"), { content_type: "text/plain" });
  await say(vhost, JSON.stringify(newer), { content_type: "application/json" });
  await expect
    .poll(() => printed(service))
    .toEqual(["AL 24: FL 7  Touch down by Tim Tebow", "AL 31: FL 7  Touch down by Tim Tebow", "AL 24: FL 7  in JSON"]);
  expect(await scores(service)).toEqual([update({ event: "in JSON" })]);
});

test("what is no score update is dropped and logged without its content, and the next one is shown", async ({
  vhost,
  cleanup,
}) => {
  const service = cleanup(await display(vhost.url));
  const json = { content_type: "application/json" };
  await say(vhost, '{"secretive": ', json);
  await say(vhost, "", json);
  await say(vhost, JSON.stringify({ ...update(), home: { team: "secretive", score: -1 } }), json);
  await say(vhost, "secretive 1 - 2");
  await say(vhost, "secretive", { content_type: "application/x-unknown" });
  await say(vhost, Buffer.from([0xff, 0xfe]), json);
  await say(vhost, JSON.stringify({ ...update(), event: "x".repeat(2 * 1024 * 1024) }), json);
  await say(vhost, JSON.stringify(update({ event: "the next one" })), json);
  await expect.poll(() => printed(service)).toEqual(["AL 24: FL 7  the next one"]);
  const dropped = service.lines.filter(({ json }) => json?.["msg"] === "messages dropped");
  expect(dropped.map(({ json }) => json?.["reason"])).toEqual(["invalid-message", "message-too-large"]);
  expect(service.lines.map(({ text }) => text).join("\n")).not.toContain("secretive");
  expect((await fetch(`${service.url}/readyz`)).status).toBe(200);
});

test("names from the wire bring no escape codes or line breaks into the output", async ({ vhost, cleanup }) => {
  const service = cleanup(await display(vhost.url));
  const team = "A\u001b[2J\u009b31m\nB";
  const evil = update({ home: { team, score: 1 }, event: "\u001b]0;title\u0007" });
  await say(vhost, JSON.stringify(evil), { content_type: "application/json" });
  await expect.poll(() => printed(service)).toEqual(["A [2J 31m B 1: FL 7   ]0;title"]);
  expect(await scores(service)).toEqual([evil]);
});

test("while the broker is away it serves what it has, not ready; back by itself, it shows the next update (pitfalls 79, 106)", async ({
  ownBroker,
  cleanup,
}) => {
  const service = cleanup(await display(ownBroker.url));
  const amqp = cleanup(await sender(ownBroker.url));
  await amqp.broadcast(scoreUpdates, update({ event: "before" }));
  await expect.poll(() => printed(service)).toHaveLength(1);
  await ownBroker.kill();
  const status = async (path: string): Promise<number> => (await fetch(`${service.url}${path}`)).status;
  await expect.poll(() => status("/readyz")).toBe(503);
  expect(await status("/livez")).toBe(200);
  expect(await scores(service)).toEqual([update({ event: "before" })]);
  await ownBroker.start();
  await expect.poll(() => status("/readyz"), { timeout: 60_000 }).toBe(200);
  await expect
    .poll(
      async () => {
        await amqp.broadcast(scoreUpdates, update({ event: "after" }));
        return scores(service);
      },
      { timeout: 60_000, interval: 200 },
    )
    .toEqual([update({ event: "after" })]);
});

test("it waits for a broker that is not there, and stops in good order while it waits (pitfall 98)", async ({
  ownBroker,
  cleanup,
}) => {
  await ownBroker.stop();
  const service = cleanup(
    await startProcess({ main, env: { AMQP_URL: ownBroker.url, PORT: "0" }, waitForReady: false }),
  );
  await expect.poll(() => service.lines.length).toBeGreaterThan(0);
  expect(await service.stop()).toMatchObject({ code: 0 });
});

/** What it printed beside its log. */
function printed(service: ServiceProcess): string[] {
  return service.lines.filter(({ stream, json }) => stream === "stdout" && json === undefined).map(({ text }) => text);
}

function shownEvents(service: ServiceProcess): string[] {
  return printed(service).map((line) => line.split("  ")[1] ?? "");
}

async function scores(service: ServiceProcess): Promise<unknown> {
  return (await fetch(`${service.url}/scores`)).json();
}

/** What the 2009 post's producer does, with the properties given and no others. */
async function say(
  vhost: VirtualHost,
  body: string | Uint8Array,
  properties: Record<string, unknown> = {},
): Promise<void> {
  await vhost.management.publish(vhost.name, { exchange: "score_updates", body, properties });
}
