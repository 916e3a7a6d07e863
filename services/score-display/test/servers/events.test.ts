import { expect } from "vitest";
import { scoreUpdates, system } from "@amqp-idioms/contracts";
import { startProcess } from "@amqp-idioms/local-servers";
import type { ServiceProcess } from "@amqp-idioms/local-servers";
import { test } from "@amqp-idioms/local-servers/vitest";
import { connect } from "amqp-kit";
import { update } from "../unit/update.ts";
import { EventClient } from "./event-client.ts";

const main = `${import.meta.dirname}/../../src/main.ts`;
const display = (url: string): Promise<ServiceProcess> => startProcess({ main, env: { AMQP_URL: url, PORT: "0" } });
const sender = (url: string) => connect(url, { system, service: "score-producer" });

test("a client of the event stream hears each update from its request on", async ({ vhost, cleanup }) => {
  const service = cleanup(await display(vhost.url));
  const amqp = cleanup(await sender(vhost.url));
  const early = cleanup(await EventClient.open(service.url));
  expect(early.response.headers).toMatchObject({ "content-type": "text/event-stream; charset=utf-8" });
  await amqp.broadcast(scoreUpdates, update({ event: "one\nin two lines" }));
  await expect.poll(() => early.events).toHaveLength(1);
  const late = cleanup(await EventClient.open(service.url));
  await amqp.broadcast(scoreUpdates, update({ event: "two" }));
  await amqp.broadcast(scoreUpdates, update({ event: "three" }));
  await expect
    .poll(() => early.updates)
    .toEqual(["one\nin two lines", "two", "three"].map((event) => update({ event })));
  await expect.poll(() => late.events).toEqual(["two", "three"]);
});

test("a client that comes back gets the newest of each match that it missed", async ({ vhost, cleanup }) => {
  const service = cleanup(await display(vhost.url));
  const amqp = cleanup(await sender(vhost.url));
  const before = cleanup(await EventClient.open(service.url));
  await amqp.broadcast(scoreUpdates, update({ match: "A", event: "seen" }));
  await expect.poll(() => before.events).toEqual(["seen"]);
  before[Symbol.dispose]();
  for (const event of ["missed", "the newest"]) await amqp.broadcast(scoreUpdates, update({ match: "B", event }));
  const scores = async (): Promise<unknown> => (await fetch(`${service.url}/scores`)).json();
  await expect.poll(scores).toMatchObject([{ event: "the newest" }, { event: "seen" }]);

  const back = cleanup(await EventClient.open(service.url, before.lastEventId));
  await expect.poll(() => back.events).toEqual(["the newest"]);
  const ofAnEarlierProcess = cleanup(await EventClient.open(service.url, "0badcafe-17"));
  await expect.poll(() => ofAnEarlierProcess.events).toEqual(["seen", "the newest"]);
});

test("a client that is too slow misses updates, not the newest of each match, and holds up nobody", async ({
  vhost,
  cleanup,
}) => {
  const service = cleanup(await display(vhost.url));
  const amqp = cleanup(await sender(vhost.url));
  const slow = cleanup(await EventClient.open(service.url));
  const quick = cleanup(await EventClient.open(service.url));
  slow.response.pause();
  await sayTooMuch(amqp, quick);
  expect(slow.updates.length).toBeLessThan(20_000);
  slow.response.resume();
  await expect.poll(() => slow.events.at(-1)).toBe(`19999 ${long}`);
  expect(quick.updates).toHaveLength(20_000);
  expect(slow.updates.length).toBeLessThan(20_000);
  const newest = new Map(slow.updates.map(({ match, event }) => [match, event.split(" ")[0]]));
  expect(Object.fromEntries(newest)).toEqual(
    Object.fromEntries(Array.from({ length: 10 }, (_, match) => [`${match}`, `${19_990 + match}`])),
  );
});

test("event streams end at the stop, also that of a client that reads nothing", async ({ vhost, cleanup }) => {
  const service = cleanup(await display(vhost.url));
  const amqp = cleanup(await sender(vhost.url));
  const reading = cleanup(await EventClient.open(service.url));
  const stuck = cleanup(await EventClient.open(service.url));
  stuck.response.pause();
  await sayTooMuch(amqp, reading);
  const { code, ms } = await service.stop();
  expect(code).toBe(0);
  expect(ms).toBeLessThan(3_000);
  await expect.poll(() => reading.hasEnded).toBe(true);
});

test("a thousand clients may listen; one more is told to come back later", async ({ vhost, cleanup }) => {
  const service = cleanup(await display(vhost.url));
  const clients = await Promise.all(Array.from({ length: 1_000 }, () => EventClient.open(service.url)));
  for (const client of clients) cleanup(client);
  const refused = await fetch(`${service.url}/scores/events`);
  expect([refused.status, refused.headers.get("retry-after")]).toEqual([503, "30"]);
  expect(await refused.json()).toMatchObject({ code: "too_many_clients", retryable: true });
  clients[0]?.[Symbol.dispose]();
  const open = async (): Promise<number> => {
    const client = cleanup(await EventClient.open(service.url));
    return client.response.statusCode ?? 0;
  };
  await expect.poll(open).toBe(200);
  expect(await service.stop()).toMatchObject({ code: 0 });
});

test("HEAD, which would wait for ever, is refused", async ({ vhost, cleanup }) => {
  const service = cleanup(await display(vhost.url));
  const response = await fetch(`${service.url}/scores/events`, { method: "HEAD" });
  expect(response.status).toBe(405);
});

const long = "x".repeat(480);

/** 20,000 updates of ten matches: more than the kernel keeps for a client that does not read, at the pace of one that does. */
async function sayTooMuch(amqp: Awaited<ReturnType<typeof sender>>, reading: EventClient): Promise<void> {
  for (let count = 0; count < 20_000; count += 500) {
    const some = Array.from({ length: 500 }, (_, index) => count + index);
    await Promise.all(
      some.map((n) => amqp.broadcast(scoreUpdates, update({ match: `${n % 10}`, event: `${n} ${long}` }))),
    );
    await expect.poll(() => reading.events.at(-1), { interval: 5 }).toBe(`${count + 499} ${long}`);
  }
}
