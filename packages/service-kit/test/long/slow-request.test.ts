import { once } from "node:events";
import { connect } from "node:net";
import { text } from "node:stream/consumers";
import { expect, test } from "vitest";
import { start } from "../servers/started.ts";

test("a request whose headers do not arrive gets status 408 after about 10 s, and its connection is closed", async () => {
  await using service = await start("plain");
  const socket = connect(service.port, "127.0.0.1");
  await once(socket, "connect");
  const before = performance.now();
  socket.write("GET /hello/violet HTTP/1.1\r\nHost: localhost\r\n");
  const answer = await text(socket);
  expect(answer).toMatch(/^HTTP\/1\.1 408 Request Timeout\r\n/);
  expect(answer).toContain('"code":"request_too_slow"');
  expect(performance.now() - before).toBeGreaterThan(9_000);
  expect(performance.now() - before).toBeLessThan(25_000);
});
