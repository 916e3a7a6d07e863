import { setTimeout as sleep } from "node:timers/promises";
import { createVirtualHost, startProxy } from "@amqp-idioms/local-servers";
import type { VirtualHost } from "@amqp-idioms/local-servers";
import { test } from "@amqp-idioms/local-servers/vitest";
import { describe, expect } from "vitest";
import { connect, ConnectionError, defineSystem, RequestTimeoutError } from "../../src/index.ts";
import { begunBy, double, failure, lamps, numbers, responderProcess } from "../asking.ts";
import { quote, system } from "../contracts.ts";
import { bareTopology } from "../peers/bare-request-response.ts";
import { recordEvents } from "../recording.ts";

/** Queues of replies that somebody consumes, by name. */
async function replyQueues({ management, name }: VirtualHost): Promise<string[]> {
  const names = (await management.consumers(name)).map(({ queue }) => queue.name);
  return names.filter((queue) => queue.startsWith("amq.gen-"));
}

describe("receiver is down: the caller gets an error or a timeout, and the abandoned request expires unexecuted", () => {
  test("a request whose time limit passed in the socket of a frozen responder is never begun (pitfall 69)", async ({
    vhost,
    cleanup,
  }) => {
    const { channel } = cleanup(await bareTopology(vhost.url, "shop", "quote"));
    const responder = cleanup(await responderProcess(vhost.url));
    const till = cleanup(await connect(vhost.url, { system, service: "till" }));
    await till.request(quote, { article: "warm", pieces: 1 });
    responder.freeze();
    // 10 go into the socket, and the others wait in the queue
    const late = numbers(1, 15).map((n) =>
      till.request(quote, { article: `late ${n}`, pieces: 1 }, { timeoutMs: 400 }),
    );
    for (const { error } of await Promise.all(late.map(failure))) expect(error).toBeInstanceOf(RequestTimeoutError);
    // The broker counts from when it read a request, which is later on a busy machine
    await expect.poll(async () => (await channel.checkQueue("quote")).messageCount).toBe(0);
    responder.thaw();
    await till.request(quote, { article: "marker", pieces: 1 });
    expect(begunBy(responder)).toEqual(["warm", "marker"]);
  });

  test("a request made while the broker is blocked is not sent, and is not begun when the block ends", async ({
    ownBroker,
    cleanup,
  }) => {
    const vhost = cleanup(await createVirtualHost(ownBroker));
    const warehouse = cleanup(await connect(vhost.url, { system, service: "warehouse" }));
    const begun: string[] = [];
    await warehouse.respond(quote, (request) => {
      begun.push(request.article);
      return double(request);
    });
    const till = cleanup(await connect(vhost.url, { system, service: "till" }));
    await till.request(quote, lamps(1));
    using connections = recordEvents("connection");
    await ownBroker.raiseMemoryAlarm();
    const knock = (): Promise<unknown> => failure(till.request(quote, lamps(1), { timeoutMs: 300 }));
    await expect
      .poll(async () => (await knock(), connections.all))
      .toContainEqual({ purpose: "publishing", state: "blocked" });
    const late = await failure(till.request(quote, { article: "late", pieces: 1 }, { timeoutMs: 300 }));
    await ownBroker.clearMemoryAlarm();
    await till.request(quote, { article: "marker", pieces: 1 });
    expect(begun).not.toContain("late");
    expect(late.error).toBeInstanceOf(ConnectionError);
    expect(late.error).toMatchObject({ retryable: true, outcome: "not-executed" });
  });

  test("a request that waits unsent while the reply queue is replaced is answered on the new one", async ({
    vhost,
    cleanup,
  }) => {
    const asking = defineSystem({ till: { requests: [quote] } });
    const warehouse = cleanup(await connect(vhost.url, { system, service: "warehouse" }));
    await warehouse.respond(quote, double);
    const proxy = cleanup(await startProxy(vhost.url));
    const till = cleanup(await connect(proxy.url, { system: asking, service: "till" }));
    const [consuming] = proxy.links;
    await expect.poll(() => replyQueues(vhost)).toHaveLength(1);
    const [before] = await replyQueues(vhost);
    // What publishes is connected when first needed, and here not before the frames are released
    proxy.filter((_frame, direction, link) =>
      link.id === (consuming?.id ?? 0) + 1 && direction === "to-client" ? "hold" : "pass",
    );
    const asked = till.request(quote, lamps(1), { timeoutMs: 30_000 });
    await expect.poll(() => proxy.links).toHaveLength(2);
    consuming?.cut();
    await expect
      .poll(() => replyQueues(vhost))
      .toSatisfy((names: string[]) => names.length === 1 && !names.includes(before ?? ""));
    proxy.filter(undefined);
    proxy.links.forEach((link) => link.release());
    expect(await asked).toEqual(double(lamps(1)));
  });

  test("a request that a frozen responder reads in time after it resumes is executed", async ({ vhost, cleanup }) => {
    const responder = cleanup(await responderProcess(vhost.url, { NUMBER: "7" }));
    const till = cleanup(await connect(vhost.url, { system, service: "till" }));
    await till.request(quote, { article: "warm", pieces: 1 });
    responder.freeze();
    const asked = till.request(quote, lamps(1), { timeoutMs: 20_000 });
    await sleep(800);
    responder.thaw();
    expect(await asked).toEqual({ article: "lamp", cents: 7 });
  });
});
