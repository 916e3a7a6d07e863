import { once } from "node:events";
import { get, type IncomingMessage } from "node:http";
import { connect } from "node:net";
import { text } from "node:stream/consumers";
import { afterAll, beforeAll, expect, test } from "vitest";
import { messages, start, urlOf } from "./started.ts";

const json = { "content-type": "application/json" };

/** A service with a few routes, started once for this file. */
let service: Awaited<ReturnType<typeof start>>;
beforeAll(async () => {
  service = await start("plain");
});
afterAll(() => service.close());

test.for([
  ["an unknown path", "/nowhere", {}, 404, { code: "not_found" }],
  ["a path that is not valid text", "/hello/%zz", {}, 400, { code: "invalid_request" }],
  [
    "headers that are too large",
    "/hello/violet",
    { headers: { "x-large": "x".repeat(20_000) } },
    431,
    { code: "headers_too_large" },
  ],
  [
    "an unknown method",
    "/hello/violet",
    { method: "DELETE" },
    405,
    { code: "method_not_allowed" },
    { allow: "GET, HEAD" },
  ],
  ["broken JSON", "/people", { method: "POST", headers: json, body: "{given:" }, 400, { code: "invalid_json" }],
  ["an empty body", "/people", { method: "POST", headers: json }, 400, { code: "invalid_json" }],
  [
    "an unknown content type",
    "/people",
    { method: "POST", headers: { "content-type": "text/csv" }, body: "a" },
    415,
    { code: "unsupported_media_type" },
  ],
  [
    "a body that is too large",
    "/people",
    { method: "POST", headers: json, body: `"${"x".repeat(2 ** 20)}"` },
    413,
    { code: "message_too_large" },
  ],
  [
    "a missing field",
    "/people",
    { method: "POST", headers: json, body: "{}" },
    400,
    { code: "invalid_request", errors: [{ path: "given", rule: "is required" }] },
  ],
  [
    "an invalid field",
    "/people",
    { method: "POST", headers: json, body: '{"given":""}' },
    400,
    { code: "invalid_request", errors: [{ path: "given", rule: "must NOT have fewer than 1 characters" }] },
  ],
  [
    "a problem that a route throws",
    "/problem",
    {},
    503,
    { code: "no_responder", detail: "No responder is running.", retryable: true },
    { "retry-after": "5" },
  ],
  ["an unexpected error", "/fails", {}, 500, { code: "internal_error" }],
] as const)("%s is answered with problem details", async ([_what, path, request, status, problem, headers = {}]) => {
  const response = await fetch(service.url + path, request);
  expect(response.status).toBe(status);
  expect(response.headers.get("content-type")).toBe("application/problem+json");
  const body = await response.text();
  expect(JSON.parse(body)).toMatchObject({ type: "about:blank", status, title: expect.any(String), ...problem });
  expect(body).not.toMatch(/Violet|secret|\.ts/);
  expect(Object.fromEntries(response.headers)).toMatchObject(headers);
});

test("an unexpected error is logged with its route and without the content of the request", async () => {
  await fetch(`${service.url}/fails?surname=Bloom`);
  await expect.poll(() => messages(service)).toContain("request failed");
  const line = service.lines.find(({ json }) => json?.["msg"] === "request failed");
  expect(line?.json).toMatchObject({ method: "GET", route: "/fails", err: { type: "Error" } });
  expect(line?.text).not.toMatch(/surname|secret/);
});

test("a request that is not HTTP gets problem details with status 400", async () => {
  const socket = connect(service.port, "127.0.0.1");
  await once(socket, "connect");
  socket.write("what is this\r\n\r\n");
  const answer = await text(socket);
  expect(answer).toMatch(/^HTTP\/1\.1 400 Bad Request\r\nContent-Type: application\/problem\+json/);
  expect(answer).toContain('"code":"invalid_request"');
  expect(answer).toContain("x-content-type-options: nosniff");
});

test.for(["/livez", "/readyz", "/hello/violet", "/nowhere", "/fails", "/problem"])(
  "the response to %s has security headers and names no software",
  async (path) => {
    const { headers } = await fetch(service.url + path);
    expect(Object.fromEntries(headers)).toMatchObject({
      "x-content-type-options": "nosniff",
      "x-frame-options": "DENY",
      "referrer-policy": "no-referrer",
      "content-security-policy": "default-src 'none'; frame-ancestors 'none'",
    });
    expect([...headers.keys()]).not.toContain("server");
    expect([...headers.keys()]).not.toContain("x-powered-by");
  },
);

test("an address over its rate limit gets 429 with Retry-After on every path except the health checks", async () => {
  await using service = await start("plain", { env: { RATE_LIMIT_PER_MINUTE: "3" } });
  const statusOf = async (path: string): Promise<number> => (await fetch(service.url + path)).status;
  expect(await Promise.all([statusOf("/hello/a"), statusOf("/nowhere"), statusOf("/problem")])).toEqual([
    200, 404, 503,
  ]);
  for (const path of ["/hello/a", "/nowhere"]) {
    const limited = await fetch(service.url + path);
    expect([limited.status, limited.headers.get("content-type")]).toEqual([429, "application/problem+json"]);
    expect(await limited.json()).toMatchObject({ code: "rate_limited", status: 429, retryable: true });
    const retryAfter = Number(limited.headers.get("retry-after"));
    expect(retryAfter).toBeGreaterThan(0);
    expect(retryAfter).toBeLessThanOrEqual(60);
  }
  expect(await Promise.all([statusOf("/livez"), statusOf("/readyz")])).toEqual([200, 200]);
});

test.skipIf(process.platform !== "linux")("an address over its rate limit does not limit other addresses", async () => {
  await using service = await start("plain", { env: { RATE_LIMIT_PER_MINUTE: "1" } });
  const statusFor = async (localAddress: string): Promise<number | undefined> => {
    const request = get(`${service.url}/hello/a`, { localAddress, agent: false });
    const [response]: IncomingMessage[] = await once(request, "response");
    response?.resume();
    return response?.statusCode;
  };
  expect([await statusFor("127.0.0.1"), await statusFor("127.0.0.1"), await statusFor("127.0.0.2")]).toEqual([
    200, 429, 200,
  ]);
});

test("without a rate limit every request is answered", async () => {
  const statuses = await Promise.all(
    Array.from({ length: 200 }, async () => (await fetch(`${service.url}/hello/a`)).status),
  );
  expect(new Set(statuses)).toEqual(new Set([200]));
});

test("a service that starts is alive, is not ready, and answers other requests with 503 and Retry-After", async () => {
  await using service = await start("waiting", { waitForReady: false });
  await expect.poll(() => messages(service)).toContain("waiting");
  const url = urlOf(service);
  expect((await fetch(`${url}/livez`)).status).toBe(200);
  const ready = await fetch(`${url}/readyz`);
  expect([ready.status, await ready.json()]).toEqual([503, { status: "starting" }]);
  const other = await fetch(`${url}/anything`);
  expect([other.status, other.headers.get("retry-after")]).toEqual([503, "1"]);
  expect(await other.json()).toMatchObject({ code: "starting", retryable: true, status: 503 });
});

test('a service logs "ready" once and is ready only while its parts are (pitfall 106)', async () => {
  await using service = await start("late", { waitForReady: false });
  await expect.poll(() => urlOf(service)).toBeDefined();
  const readiness = async () => (await fetch(`${urlOf(service)}/readyz`)).json();
  await expect.poll(readiness).toEqual({ status: "not ready" });
  expect(messages(service)).not.toContain("ready");
  service.write("ready\n");
  await expect.poll(() => messages(service)).toContain("ready");
  for (const [line, status] of [
    ["not", "not ready"],
    ["ready", "ready"],
  ] as const) {
    service.write(`${line}\n`);
    await expect.poll(readiness).toEqual({ status });
  }
  await service.stop();
  expect(messages(service).filter((line) => line === "ready")).toEqual(["ready"]);
});

test("a readiness check that never answers makes the service not ready after about a second", async () => {
  await using service = await start("late", { waitForReady: false, env: { READY: "never" } });
  await expect.poll(() => urlOf(service)).toBeDefined();
  const before = performance.now();
  const response = await fetch(`${urlOf(service)}/readyz`);
  expect([response.status, await response.json()]).toEqual([503, { status: "not ready" }]);
  expect(performance.now() - before).toBeLessThan(3_000);
});
