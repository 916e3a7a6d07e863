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

test("Is ready once it listens, and stops gracefully", async ({ vhost, cleanup }) => {
  for (const signal of ["SIGTERM", "SIGINT"] as const) {
    const service = cleanup(await display(vhost.url));
    expect((await fetch(`${service.url}/livez`)).status).toBe(200);
    expect((await fetch(`${service.url}/readyz`)).status).toBe(200);
    expect(await service.stop({ signal })).toMatchObject({ code: 0 });
  }
});

test("Prints each update as a line, in order, and serves the newest update of each match", async ({
  vhost,
  cleanup,
}) => {
  const service = cleanup(await display(vhost.url));
  const amqp = cleanup(await sender(vhost.url));
  const kickOff = update({ match: "Final", home: { team: "Zoé", score: 0 }, event: "Kick-off" });
  const goal = { ...kickOff, home: { team: "Zoé", score: 1 }, event: "Goal by É, 90+4'" };
  for (const one of [kickOff, update(), goal]) await amqp.broadcast(scoreUpdates, one);
  await expect.poll(() => scores(service)).toEqual([goal, update()]);
  // Its output may arrive later than its HTTP answer
  await expect
    .poll(() => printed(service))
    .toEqual(["Zoé 0: FL 7  Kick-off", "AL 24: FL 7  Touch down by Tim Tebow", "Zoé 1: FL 7  Goal by É, 90+4'"]);
});

test("Each display shows exactly the updates that were sent while it listened", async ({ vhost, cleanup }) => {
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

test("Shows the updates of a sender without amqp-kit, in JSON and as the text of the 2009 post", async ({
  vhost,
  cleanup,
}) => {
  const service = cleanup(await display(vhost.url));
  const text = "AL 24: FL 7\nTouch down by Tim Tebow";
  const newer = { ...update({ event: "in JSON" }), addedByANewerSender: true };
  await publish(vhost, text);
  await publish(vhost, text.replace("24", "31"), { content_type: "text/plain" });
  await publish(vhost, JSON.stringify(newer), { content_type: "application/json" });
  await expect
    .poll(() => printed(service))
    .toEqual(["AL 24: FL 7  Touch down by Tim Tebow", "AL 31: FL 7  Touch down by Tim Tebow", "AL 24: FL 7  in JSON"]);
  expect(await scores(service)).toEqual([update({ event: "in JSON" })]);
});

test("An invalid update is dropped and logged without its content, and the next one is shown", async ({
  vhost,
  cleanup,
}) => {
  const service = cleanup(await display(vhost.url));
  const json = { content_type: "application/json" };
  await publish(vhost, '{"secretive": ', json);
  await publish(vhost, "", json);
  await publish(vhost, JSON.stringify({ ...update(), home: { team: "secretive", score: -1 } }), json);
  await publish(vhost, "secretive 1 - 2");
  await publish(vhost, "secretive", { content_type: "application/x-unknown" });
  await publish(vhost, Buffer.from([0xff, 0xfe]), json);
  await publish(vhost, JSON.stringify({ ...update(), event: "x".repeat(2 * 1024 * 1024) }), json);
  await publish(vhost, JSON.stringify(update({ event: "the next one" })), json);
  await expect.poll(() => printed(service)).toEqual(["AL 24: FL 7  the next one"]);
  const dropped = service.lines.filter(({ json }) => json?.["msg"] === "messages dropped");
  expect(dropped.map(({ json }) => json?.["reason"])).toEqual(["invalid-message", "message-too-large"]);
  expect(service.lines.map(({ text }) => text).join("\n")).not.toContain("secretive");
  expect((await fetch(`${service.url}/readyz`)).status).toBe(200);
});

test("Escape codes and line breaks in received names do not reach the output", async ({ vhost, cleanup }) => {
  const service = cleanup(await display(vhost.url));
  const team = "A\u001b[2J\u009b31m\nB";
  const evil = update({ home: { team, score: 1 }, event: "\u001b]0;title\u0007" });
  await publish(vhost, JSON.stringify(evil), { content_type: "application/json" });
  await expect.poll(() => printed(service)).toEqual(["A [2J 31m B 1: FL 7   ]0;title"]);
  expect(await scores(service)).toEqual([evil]);
});

/** The output lines that are not log lines. */
function printed(service: ServiceProcess): string[] {
  return service.lines.filter(({ stream, json }) => stream === "stdout" && json === undefined).map(({ text }) => text);
}

function shownEvents(service: ServiceProcess): string[] {
  return printed(service).map((line) => line.split("  ")[1] ?? "");
}

async function scores(service: ServiceProcess): Promise<unknown> {
  return (await fetch(`${service.url}/scores`)).json();
}

/** Publishes with exactly these properties, as the producer of the 2009 post does. */
async function publish(
  vhost: VirtualHost,
  body: string | Uint8Array,
  properties: Record<string, unknown> = {},
): Promise<void> {
  await vhost.management.publish(vhost.name, { exchange: "score_updates", body, properties });
}
