import { spawn } from "node:child_process";
import { once } from "node:events";
import { amqpMethods, type Link, startProxy } from "@amqp-idioms/local-servers";
import { test } from "@amqp-idioms/local-servers/vitest";
import { describe, expect } from "vitest";
import { deadPolicy } from "../../src/derive/dead-policy.ts";
import { DeadLetters } from "../../src/dead-letters/dead-letters.ts";
import type { DeadLetter } from "../../src/dead-letters/letter.ts";
import { ConnectionError, PublishError } from "../../src/index.ts";
import { amqpKit, cli } from "../operator.ts";
import { bareDeadLetters } from "../peers/bare-dead-letters.ts";

const queue = "order.placed.billing";
const dead = `${queue}.dead`;
const types = ["classic", "quorum"] as const;
const numbered = (count: number): string[] => Array.from({ length: count }, (_, index) => String(index + 1));
const open = (url: string, signal = new AbortController().signal): Promise<DeadLetters> =>
  DeadLetters.open(url, { isPolicySet: true, signal });
const everything = (letters: readonly DeadLetter[]): DeadLetter[] => [...letters];

describe.for(types)("a dead queue, %s", (type) => {
  test("is unchanged and in order after 50 reads (pitfall 90c)", async ({ vhost, cleanup }) => {
    const bare = cleanup(await bareDeadLetters(vhost.url, queue, type));
    await bare.setAside(numbered(250));
    const operator = cleanup(await open(vhost.url));
    for (let look = 1; look <= 50; look++) {
      const seen: string[] = [];
      await operator.read(dead, (letters) => void seen.push(...letters.map(({ message }) => String(message.content))));
      expect(seen, `look ${look}`).toEqual(numbered(250));
      expect(await operator.count(dead), `after look ${look}`).toBe(250);
    }
    expect((await bare.drain(dead)).map(({ content }) => String(content))).toEqual(numbered(250));
  });

  test("loses nothing if requeue is killed with -9 in the middle of a batch; the next run sends the rest (pitfall 95)", async ({
    vhost,
    cleanup,
  }) => {
    const bare = cleanup(await bareDeadLetters(vhost.url, queue, type));
    const all = numbered(500);
    await bare.setAside(all);
    const proxy = cleanup(await startProxy(vhost.url));
    const isHalfway = Promise.withResolvers<void>();
    let published = 0;
    let publishing: Link | undefined;
    // Acknowledgements, on the other connection, would pass
    proxy.filter((frame, direction, link) => {
      if (direction === "to-server" && frame.method === amqpMethods.basicPublish && ++published === 150) {
        publishing = link;
        isHalfway.resolve();
      }
      return link === publishing && direction === "to-server" ? "hold" : "pass";
    });
    const env = { PATH: process.env["PATH"], AMQP_URL: proxy.url };
    const killed = spawn(process.execPath, [cli, "dead", "requeue", dead], { env, stdio: "ignore" });
    const ended = once(killed, "close");
    await isHalfway.promise;
    killed.kill("SIGKILL");
    await ended;
    expect(killed.signalCode).toBe("SIGKILL");
    // What it held is handed back when the broker sees the connection end: the hundred of the first batch were done with
    await expect.poll(() => bare.count(dead)).toBe(400);
    // Of the last ones published the broker may have seen nothing
    expect(await bare.count(queue)).toBeGreaterThanOrEqual(100);
    expect(await bare.count(queue)).toBeLessThan(150);

    const { code, out } = await amqpKit(vhost.url, "dead", "requeue", dead);
    expect({ code, out }).toEqual({ code: 0, out: `${dead}: 400 of 400 messages requeued to ${queue}\n` });
    const ids = (await bare.drain(queue)).map(({ properties }) => properties.messageId);
    expect(new Set(ids)).toEqual(new Set(all));
    expect(ids.length).toBeLessThan(550);
  });

  test("requeues 10,000 while the handler still fails, and stops at the count it began with (pitfall 95)", async ({
    vhost,
    cleanup,
  }) => {
    const bare = cleanup(await bareDeadLetters(vhost.url, queue, type));
    await bare.setAside(numbered(10_000));
    await bare.failAgain();
    const operator = cleanup(await open(vhost.url));
    const progress: number[] = [];
    await operator.requeue(dead, everything, (sent) => progress.push(sent));
    expect(progress.at(-1)).toBe(10_000);
    expect(progress.length).toBeGreaterThan(10);
    await expect.poll(() => bare.count(dead)).toBe(10_000);
    const ids = new Set((await bare.drain(dead)).map(({ properties }) => properties.messageId));
    expect(ids.size).toBe(10_000);
  });

  test("discards the selected messages and keeps the others in order", async ({ vhost, cleanup }) => {
    const bare = cleanup(await bareDeadLetters(vhost.url, queue, type));
    await bare.setAside(numbered(5_000));
    const operator = cleanup(await open(vhost.url));
    const discard = (isWanted: (number: number) => boolean): Promise<number> =>
      operator.discard(dead, (letters) => letters.filter(({ messageId }) => isWanted(Number(messageId))), {
        save: () => Promise.resolve(),
        confirm: () => Promise.resolve(true),
        onBegin: () => undefined,
      });
    expect(await discard((number) => number % 2 === 0)).toBe(2_500);
    expect(await operator.count(dead)).toBe(2_500);
    expect(await discard((number) => number > 101)).toBe(2_449);
    await expect.poll(() => operator.count(dead)).toBe(51);
    expect((await bare.drain(dead)).map(({ content }) => Number(content) % 2)).toEqual(Array(51).fill(1));
  });

  test("is unchanged and in order if reading is interrupted", async ({ broker, vhost, cleanup, skip }) => {
    if (type === "quorum" && broker.version.startsWith("3."))
      skip("needs RabbitMQ 4: older quorum queues put everything back at their end");
    const bare = cleanup(await bareDeadLetters(vhost.url, queue, type));
    await bare.setAside(numbered(250));
    const interrupted = new AbortController();
    const operator = cleanup(await open(vhost.url, interrupted.signal));
    expect(await operator.read(dead, () => interrupted.abort())).toBe(100);
    expect((await bare.drain(dead)).map(({ content }) => String(content))).toEqual(numbered(250));
  });

  test("keeps everything when the operator's connection is cut", async ({ vhost, cleanup }) => {
    const bare = cleanup(await bareDeadLetters(vhost.url, queue, type));
    await bare.setAside(numbered(250));
    const proxy = cleanup(await startProxy(vhost.url));
    const operator = cleanup(await open(proxy.url));
    const looking = operator.read(dead, () => proxy.cut());
    await expect(looking).rejects.toThrow(ConnectionError);
    await expect(looking).rejects.toThrow(`The channel to queue "${dead}" was lost: `);
    await expect.poll(() => bare.count(dead)).toBe(250);
  });
});

test("no message leaves the dead queue if the exchange has no binding or is missing (pitfall 95)", async ({
  vhost,
  cleanup,
}) => {
  const bare = cleanup(await bareDeadLetters(vhost.url, queue));
  // One without an id, which could not be told from another when it is returned
  await bare.setAside(["1", { body: "2" }, { body: "3" }]);
  const operator = cleanup(await open(vhost.url));
  const send = (): Promise<void> => operator.requeue(dead, everything, () => undefined);
  await vhost.management.deleteQueue(vhost.name, queue);
  await expect(send()).rejects.toThrow(PublishError);
  await expect(send()).rejects.toThrow("was returned: no queue receives it");
  await vhost.management.deleteExchange(vhost.name, `${queue}.failed`);
  await expect(send()).rejects.toThrow("NOT_FOUND - no exchange");
  expect((await bare.drain(dead)).map(({ content }) => String(content))).toEqual(["1", "2", "3"]);
});

test("RabbitMQ 4 deletes what killed readers consumed too often, unless the policy that the kit prints applies", async ({
  broker,
  vhost,
  cleanup,
  skip,
}) => {
  if (broker.version.startsWith("3.")) skip("needs RabbitMQ 4: older ones have no delivery limit to lift");
  const [policy] = deadPolicy([dead], vhost.name).policies;
  const { name, pattern, definition, priority, "apply-to": applyTo } = policy!;
  await vhost.management.setPolicy(vhost.name, name, { pattern, definition, applyTo, priority });
  const guarded = cleanup(await bareDeadLetters(vhost.url, queue, "quorum"));
  const unguarded = cleanup(await bareDeadLetters(vhost.url, "order.placed.shipping", "quorum"));
  for (const bare of [guarded, unguarded]) {
    await bare.setAside(numbered(10));
    for (let killed = 1; killed <= 25; killed++) await bare.takeAndDie(killed <= 21 || bare === guarded ? 10 : 0);
  }
  await expect.poll(() => guarded.count(dead)).toBe(10);
  expect(await unguarded.count("order.placed.shipping.dead")).toBe(0);
});
