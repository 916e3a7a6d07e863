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

test("A client of the event stream gets each update from its request on", async ({ vhost, cleanup }) => {
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

test("A client that reconnects gets the newest update of each match that it missed", async ({ vhost, cleanup }) => {
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

test("A slow client misses updates but gets the newest of each match, delays nobody, and all streams end when the service stops", async ({
  vhost,
  cleanup,
}) => {
  const service = cleanup(await display(vhost.url));
  const amqp = cleanup(await sender(vhost.url));
  const slow = cleanup(await EventClient.open(service.url));
  const stuck = cleanup(await EventClient.open(service.url));
  const quick = cleanup(await EventClient.open(service.url));
  for (const client of [slow, stuck]) client.response.pause();
  await sendTooMuch(amqp, quick);
  expect(slow.updates.length).toBeLessThan(20_000);
  slow.response.resume();
  await expect.poll(() => slow.events.at(-1)).toBe(`19999 ${long}`);
  expect(quick.updates).toHaveLength(20_000);
  expect(slow.updates.length).toBeLessThan(20_000);
  const newest = new Map(slow.updates.map(({ match, event }) => [match, event.split(" ")[0]]));
  expect(Object.fromEntries(newest)).toEqual(
    Object.fromEntries(Array.from({ length: 10 }, (_, match) => [`${match}`, `${19_990 + match}`])),
  );

  // `stuck` still reads nothing
  const { code, ms } = await service.stop();
  expect(code).toBe(0);
  expect(ms).toBeLessThan(3_000);
  await expect.poll(() => quick.hasEnded).toBe(true);
});

test("One client more than a thousand gets 503 with Retry-After", async ({ vhost, cleanup }) => {
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

test("HEAD is refused, since it would wait forever", async ({ vhost, cleanup }) => {
  const service = cleanup(await display(vhost.url));
  const response = await fetch(`${service.url}/scores/events`, { method: "HEAD" });
  expect(response.status).toBe(405);
});

const long = "x".repeat(480);

/** Sends 20,000 updates of ten matches at the pace of `reading`: more than the kernel buffers for a client that does not read. */
async function sendTooMuch(amqp: Awaited<ReturnType<typeof sender>>, reading: EventClient): Promise<void> {
  for (let count = 0; count < 20_000; count += 500) {
    const some = Array.from({ length: 500 }, (_, index) => count + index);
    await Promise.all(
      some.map((n) => amqp.broadcast(scoreUpdates, update({ match: `${n % 10}`, event: `${n} ${long}` }))),
    );
    await expect.poll(() => reading.events.at(-1), { interval: 5 }).toBe(`${count + 499} ${long}`);
  }
}
