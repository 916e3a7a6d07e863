import { once } from "node:events";
import { type AddressInfo, connect, createServer, type Socket } from "node:net";
import { setTimeout as sleep } from "node:timers/promises";
import { describe, expect } from "vitest";
import { amqpMethods, handshake, startProxy } from "../../src/index.ts";
import { type Cleanup, test } from "../../src/vitest/fixtures.ts";
import { openClient, queue } from "../peers/amqp-client.ts";

/** A server that sends back what it gets, and its URL. */
async function echoServer(cleanup: Cleanup): Promise<string> {
  const server = createServer((socket) => socket.on("error", () => {}).pipe(socket)).listen(0, "127.0.0.1");
  await once(server, "listening");
  cleanup(() => server.close());
  return `tcp://127.0.0.1:${(server.address() as AddressInfo).port}`;
}

interface Talk {
  socket: Socket;
  heard: () => string;
  /** How it ended: an error's code or "end" */
  ended: Promise<string>;
}

async function talkTo(port: number, cleanup: Cleanup): Promise<Talk> {
  const socket = connect(port, "127.0.0.1");
  cleanup(() => socket.destroy());
  let heard = "";
  socket.on("data", (chunk) => (heard += String(chunk)));
  const ended = new Promise<string>((resolve) => {
    socket
      .on("error", (error: NodeJS.ErrnoException) => resolve(error.code ?? "error"))
      .on("end", () => resolve("end"));
  });
  await once(socket, "connect");
  return { socket, heard: () => heard, ended };
}

describe("A proxy for any protocol", () => {
  test("has the server's URL with another port, and counts connections", async ({ cleanup }) => {
    const proxy = cleanup(await startProxy((await echoServer(cleanup)).replace("//", "//user:secret@") + "/path"));
    expect(proxy.url).toBe(`tcp://user:secret@127.0.0.1:${proxy.port}/path`);
    const talk = await talkTo(proxy.port, cleanup);
    talk.socket.write("hello");
    await expect.poll(talk.heard).toBe("hello");
    expect([proxy.connections, proxy.accepted]).toEqual([1, 1]);
    talk.socket.end();
    await expect(talk.ended).resolves.toBe("end");
    await expect.poll(() => proxy.connections).toBe(0);
  });

  test.for([
    ["reset", "ECONNRESET"],
    ["end", "end"],
  ] as const)("cuts with a %s, which the client sees as %s", async ([how, seen], { cleanup }) => {
    const proxy = cleanup(await startProxy(await echoServer(cleanup)));
    const talk = await talkTo(proxy.port, cleanup);
    await expect.poll(() => proxy.connections).toBe(1);
    proxy.cut(how);
    await expect(talk.ended).resolves.toBe(seen);
  });

  test("freezes one direction or both without closing, and delivers everything after thaw", async ({ cleanup }) => {
    const proxy = cleanup(await startProxy(await echoServer(cleanup)));
    const talk = await talkTo(proxy.port, cleanup);
    await expect.poll(() => proxy.connections).toBe(1);
    proxy.freeze("to-client");
    talk.socket.write("one ");
    await expect.poll(() => proxy.links[0]?.bytes["to-server"]).toBe(4);
    await sleep(50);
    expect([talk.heard(), proxy.links[0]?.bytes["to-client"]]).toEqual(["", 0]);
    proxy.freeze();
    talk.socket.write("two");
    await sleep(50);
    expect(proxy.links[0]?.bytes["to-server"]).toBe(4);
    proxy.thaw();
    await expect.poll(talk.heard).toBe("one two");
  });

  test("stops reading while it is frozen, so that the sender's buffers fill up", async ({ cleanup }) => {
    const proxy = cleanup(await startProxy(await echoServer(cleanup)));
    const talk = await talkTo(proxy.port, cleanup);
    await expect.poll(() => proxy.connections).toBe(1);
    proxy.freeze();
    const size = 64 * 1024 * 1024;
    talk.socket.write(Buffer.alloc(size));
    await sleep(200);
    expect(talk.socket.bytesWritten - talk.socket.writableLength).toBeLessThan(size);
    expect(talk.socket.writableLength).toBeGreaterThan(0);
  });

  test("freezes connections that are opened while it is frozen", async ({ cleanup }) => {
    const proxy = cleanup(await startProxy(await echoServer(cleanup)));
    proxy.freeze();
    const talk = await talkTo(proxy.port, cleanup);
    talk.socket.write("hello");
    await sleep(50);
    expect(talk.heard()).toBe("");
    proxy.thaw();
    await expect.poll(talk.heard).toBe("hello");
  });

  test("cuts the next connection after a number of bytes, and only that one", async ({ cleanup }) => {
    const proxy = cleanup(await startProxy(await echoServer(cleanup)));
    proxy.cutAfter(3, "to-client");
    const cut = await talkTo(proxy.port, cleanup);
    cut.socket.write("hello");
    await expect(cut.ended).resolves.toBe("ECONNRESET");
    expect("hel").toContain(cut.heard());
    const whole = await talkTo(proxy.port, cleanup);
    whole.socket.write("hello");
    await expect.poll(whole.heard).toBe("hello");
  });

  test("refuses new connections and keeps open ones", async ({ cleanup }) => {
    const proxy = cleanup(await startProxy(await echoServer(cleanup)));
    const standing = await talkTo(proxy.port, cleanup);
    await expect.poll(() => proxy.connections).toBe(1);
    proxy.refuse();
    const refused = connect(proxy.port, "127.0.0.1");
    await expect(once(refused, "close").then(() => "closed")).rejects.toThrow("ECONNRESET");
    standing.socket.write("hello");
    await expect.poll(standing.heard).toBe("hello");
    proxy.accept();
    const accepted = await talkTo(proxy.port, cleanup);
    accepted.socket.write("again");
    await expect.poll(accepted.heard).toBe("again");
  });

  test("delays data and keeps its order", async ({ cleanup }) => {
    const proxy = cleanup(await startProxy(await echoServer(cleanup)));
    const talk = await talkTo(proxy.port, cleanup);
    await expect.poll(() => proxy.connections).toBe(1);
    proxy.delay(100);
    const since = performance.now();
    for (const word of ["one ", "two ", "three"]) talk.socket.write(word);
    await expect.poll(talk.heard).toBe("one two three");
    expect(performance.now() - since).toBeGreaterThanOrEqual(190);
  });

  test("keeps the order even when the delay becomes shorter", async ({ cleanup }) => {
    const proxy = cleanup(await startProxy(await echoServer(cleanup)));
    const talk = await talkTo(proxy.port, cleanup);
    await expect.poll(() => proxy.connections).toBe(1);
    proxy.delay(200);
    talk.socket.write("one ");
    await expect.poll(() => proxy.links[0]?.bytes["to-server"]).toBe(4);
    proxy.delay(0);
    talk.socket.write("two");
    await expect.poll(talk.heard).toBe("one two");
  });

  test("throttles each direction to a number of bytes per second", async ({ cleanup }) => {
    const proxy = cleanup(await startProxy(await echoServer(cleanup)));
    const talk = await talkTo(proxy.port, cleanup);
    await expect.poll(() => proxy.connections).toBe(1);
    proxy.throttle(10_000);
    const since = performance.now();
    talk.socket.write("x".repeat(1_000));
    await expect.poll(() => talk.heard().length).toBe(1_000);
    expect(performance.now() - since).toBeGreaterThanOrEqual(190);
  });

  test("passes on what a lifted throttle held back, and forgets a link whose client has left meanwhile", async ({
    cleanup,
  }) => {
    const proxy = cleanup(await startProxy(await echoServer(cleanup)));
    const talk = await talkTo(proxy.port, cleanup);
    const left = await talkTo(proxy.port, cleanup);
    await expect.poll(() => proxy.connections).toBe(2);
    proxy.throttle(10);
    talk.socket.write("x".repeat(1_000));
    left.socket.end("x".repeat(1_000));
    talk.socket.write("y");
    await expect.poll(() => left.socket.writableFinished).toBe(true);
    proxy.throttle(Infinity);
    await expect.poll(() => talk.heard().length, { timeout: 2_000 }).toBe(1_001);
    await expect.poll(() => proxy.connections, { timeout: 2_000 }).toBe(1);
  });

  test("loses a link: neither side receives anything, and a new connection works", async ({ cleanup }) => {
    const proxy = cleanup(await startProxy(await echoServer(cleanup)));
    const lost = await talkTo(proxy.port, cleanup);
    await expect.poll(() => proxy.connections).toBe(1);
    proxy.links[0]?.lose();
    lost.socket.write("hello");
    const whole = await talkTo(proxy.port, cleanup);
    whole.socket.write("hello");
    await expect.poll(whole.heard).toBe("hello");
    expect(lost.heard()).toBe("");
    lost.socket.destroy();
    await expect.poll(() => proxy.connections).toBe(1);
  });

  test("closes even if a link that was cut is never read to its end", async ({ cleanup }) => {
    const proxy = await startProxy(await echoServer(cleanup));
    const talk = await talkTo(proxy.port, cleanup);
    talk.socket.pause();
    // More than the sockets hold
    const bytes = 32 * 1024 * 1024;
    talk.socket.write(Buffer.alloc(bytes));
    await expect.poll(() => proxy.links[0]?.bytes["to-client"]).toBe(bytes);
    proxy.cut("end");
    await proxy.close();
    await expect(talkTo(proxy.port, cleanup)).rejects.toThrow("ECONNREFUSED");
  });

  test("closes one direction of a link and keeps the other open", async ({ cleanup }) => {
    const server = createServer({ allowHalfOpen: true }, (socket) => {
      socket
        .on("end", () => socket.end("you have ended"))
        .on("error", () => {})
        .resume();
    }).listen(0, "127.0.0.1");
    await once(server, "listening");
    cleanup(() => server.close());
    const proxy = cleanup(await startProxy(`tcp://127.0.0.1:${(server.address() as AddressInfo).port}`));
    const talk = await talkTo(proxy.port, cleanup);
    await expect.poll(() => proxy.connections).toBe(1);
    proxy.links[0]?.halfClose("to-server");
    await expect(talk.ended).resolves.toBe("end");
    expect(talk.heard()).toBe("you have ended");
  });

  test("injects bytes that no side has sent", async ({ cleanup }) => {
    const proxy = cleanup(await startProxy(await echoServer(cleanup)));
    const talk = await talkTo(proxy.port, cleanup);
    await expect.poll(() => proxy.connections).toBe(1);
    proxy.links[0]?.inject(Buffer.from("garbage"), "to-client");
    await expect.poll(talk.heard).toBe("garbage");
  });
});

describe("A proxy in front of a broker", () => {
  test("holds only the confirm: the message is in the queue, and its sender still waits", async ({
    vhost,
    cleanup,
  }) => {
    const proxy = cleanup(await startProxy(vhost.url));
    const client = cleanup(await openClient(proxy.url));
    proxy.filter(({ method }) => (method === amqpMethods.basicAck ? "hold" : "pass"));
    const publishing = client.publish("unconfirmed").then(() => "confirmed");
    await expect(client.get()).resolves.toBe("unconfirmed");
    await expect(Promise.race([publishing, sleep(100, "waiting")])).resolves.toBe("waiting");
    proxy.release();
    await expect(publishing).resolves.toBe("confirmed");
  });

  test("drops one confirm, and later ones arrive", async ({ vhost, cleanup }) => {
    const proxy = cleanup(await startProxy(vhost.url));
    const client = cleanup(await openClient(proxy.url));
    proxy.filter(({ method }) => (method === amqpMethods.basicAck ? "drop" : "pass"));
    const first = client.publish("first").then(
      () => "confirmed",
      () => "lost",
    );
    await expect(client.get()).resolves.toBe("first");
    proxy.filter(undefined);
    await client.publish("second");
    await expect(Promise.race([first, sleep(100, "waiting")])).resolves.toBe("waiting");
  });

  test("cuts in the middle of the set-up, at a given frame", async ({ vhost, cleanup }) => {
    const proxy = cleanup(await startProxy(vhost.url));
    proxy.filter(({ method }) => (method === amqpMethods.queueDeclareOk ? "cut" : "pass"));
    await expect(openClient(proxy.url)).rejects.toThrow("Channel ended");
    await expect.poll(async () => (await vhost.management.queues(vhost.name)).map(({ name }) => name)).toEqual([queue]);
  });

  test("replaces a frame by other bytes", async ({ vhost, cleanup }) => {
    const proxy = cleanup(await startProxy(vhost.url));
    const garbage = Buffer.alloc(8, 0xff);
    proxy.filter(({ method, bytes }) =>
      method === amqpMethods.queueDeclareOk ? Buffer.concat([garbage, bytes]) : "pass",
    );
    await expect(openClient(proxy.url)).rejects.toThrow("Channel ended");
    await expect.poll(() => proxy.connections).toBe(0);
  });

  test("holds one direction of one connection only", async ({ vhost, cleanup }) => {
    const proxy = cleanup(await startProxy(vhost.url));
    await using held = await openClient(proxy.url);
    const free = cleanup(await openClient(proxy.url));
    proxy.links[0]?.freeze("to-client");
    const publishing = held.publish("held").then(() => "confirmed");
    await expect.poll(() => free.get()).toBe("held");
    await expect(Promise.race([publishing, sleep(100, "waiting")])).resolves.toBe("waiting");
    proxy.links[0]?.thaw();
    await expect(publishing).resolves.toBe("confirmed");
  });

  test("lets a handshake time out while it is frozen", async ({ vhost, cleanup }) => {
    const proxy = cleanup(await startProxy(vhost.url));
    proxy.freeze();
    await expect(handshake(proxy.url, 300)).rejects.toThrow("within 300 ms");
  });
});
