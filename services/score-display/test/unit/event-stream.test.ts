import { once } from "node:events";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { connect } from "node:net";
import { expect, onTestFinished, test } from "vitest";
import { EventStream } from "../../src/event-stream.ts";
import { Scoreboard } from "../../src/scoreboard.ts";
import { update } from "./update.ts";

test("A client gets comments while there are no updates, so that it can detect a dead connection", async () => {
  const { url } = await serve(new EventStream(new Scoreboard(), { heartbeatMs: 10 }));
  const { body } = await fetch(url);
  let text = "";
  for await (const chunk of body ?? []) {
    text += new TextDecoder().decode(chunk);
    if (text.includes(":\n\n:\n\n")) break;
  }
  expect(text).toMatch(/^retry: 2000\n\n(:\n\n)+$/);
});

test("A client that reads nothing for two heartbeats is disconnected", async () => {
  const scoreboard = new Scoreboard();
  const events = new EventStream(scoreboard, { maxClients: 1, heartbeatMs: 50 });
  const { port } = await serve(events);
  const client = connect(port, "127.0.0.1");
  onTestFinished(() => void client.destroy());
  client.write("GET / HTTP/1.1\r\nhost: localhost\r\n\r\n");
  await expect.poll(() => events.isFull).toBe(true);
  // More than the kernel keeps for a client that never reads
  const talk = setInterval(() => {
    for (let match = 0; match < 1_000; match += 1)
      scoreboard.show(update({ match: `${match}`, event: "x".repeat(500) }));
  }, 1);
  onTestFinished(() => clearInterval(talk));
  await expect.poll(() => events.isFull).toBe(false);
});

async function serve(events: EventStream): Promise<{ url: string; port: number }> {
  const server = createServer((_request, response) => events.serve(response, undefined));
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  onTestFinished(() => {
    events.close();
    server.closeAllConnections();
    server.close();
  });
  const { port } = server.address() as AddressInfo;
  return { url: `http://127.0.0.1:${port}`, port };
}
