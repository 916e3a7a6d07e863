import { once } from "node:events";
import { get, type IncomingMessage } from "node:http";
import { connect } from "node:net";
import { text } from "node:stream/consumers";
import { expect, test } from "vitest";
import { said, started, urlOf } from "./started.ts";

const json = { "content-type": "application/json" };

test.for([
  ["an unknown path", "/nowhere", {}, 404, { code: "not_found" }],
  ["a path that is no text", "/hello/%zz", {}, 400, { code: "invalid_request" }],
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
  ["no JSON", "/people", { method: "POST", headers: json }, 400, { code: "invalid_json" }],
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
    { code: "no_responder", detail: "Nobody.", retryable: true },
    { "retry-after": "5" },
  ],
  ["an error that nobody expected", "/fails", {}, 500, { code: "internal_error" }],
] as const)("%s is answered with problem details", async ([_what, path, request, status, problem, headers = {}]) => {
  await using service = await started("plain");
  const response = await fetch(service.url + path, request);
  expect(response.status).toBe(status);
  expect(response.headers.get("content-type")).toBe("application/problem+json");
  const body = await response.text();
  expect(JSON.parse(body)).toMatchObject({ type: "about:blank", status, title: expect.any(String), ...problem });
  expect(body).not.toMatch(/Violet|secret|\.ts/);
  expect(Object.fromEntries(response.headers)).toMatchObject(headers);
});

test("an error that nobody expected is logged with its route, and without what the request said", async () => {
  await using service = await started("plain");
  await fetch(`${service.url}/fails?surname=Bloom`);
  await expect.poll(() => said(service)).toContain("a request failed");
  const line = service.lines.find(({ json }) => json?.["msg"] === "a request failed");
  expect(line?.json).toMatchObject({ method: "GET", route: "/fails", err: { type: "Error" } });
  expect(line?.text).not.toMatch(/surname|secret/);
});

test("a request that is no HTTP is answered, too", async () => {
  await using service = await started("plain");
  const socket = connect(service.port, "127.0.0.1");
  await once(socket, "connect");
  socket.write("what is this\r\n\r\n");
  const answer = await text(socket);
  expect(answer).toMatch(/^HTTP\/1\.1 400 Bad Request\r\nContent-Type: application\/problem\+json/);
  expect(answer).toContain('"code":"invalid_request"');
  expect(answer).toContain("x-content-type-options: nosniff");
});

test("a request whose headers do not arrive is answered after ten seconds or so, and its connection closed", async () => {
  await using service = await started("plain");
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

test.for(["/livez", "/readyz", "/hello/violet", "/nowhere", "/fails", "/problem"])(
  "%s is answered with security headers, and without the name of any software",
  async (path) => {
    await using service = await started("plain");
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

test("over its rate limit an address is told when to come back, whatever it asks for; health is not limited", async () => {
  await using service = await started("plain", { env: { RATE_LIMIT_PER_MINUTE: "3" } });
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

test.skipIf(process.platform !== "linux")("one address over its rate limit leaves the others alone", async () => {
  await using service = await started("plain", { env: { RATE_LIMIT_PER_MINUTE: "1" } });
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

test("without a rate limit any number of requests is answered", async () => {
  await using service = await started("plain");
  const statuses = await Promise.all(
    Array.from({ length: 200 }, async () => (await fetch(`${service.url}/hello/a`)).status),
  );
  expect(new Set(statuses)).toEqual(new Set([200]));
});

test("while the service starts it is alive, not ready, and asks all others to come back", async () => {
  await using service = await started("waiting", { waitForReady: false });
  await expect.poll(() => said(service)).toContain("waiting");
  const url = urlOf(service);
  expect((await fetch(`${url}/livez`)).status).toBe(200);
  const ready = await fetch(`${url}/readyz`);
  expect([ready.status, await ready.json()]).toEqual([503, { status: "starting" }]);
  const other = await fetch(`${url}/anything`);
  expect([other.status, other.headers.get("retry-after")]).toEqual([503, "1"]);
  expect(await other.json()).toMatchObject({ code: "starting", retryable: true, status: 503 });
});

test("a service is ready, and says so once, when its parts are; and not ready when they are not (pitfall 106)", async () => {
  await using service = await started("late", { waitForReady: false });
  await expect.poll(() => urlOf(service)).toBeDefined();
  const readiness = async () => (await fetch(`${urlOf(service)}/readyz`)).json();
  await expect.poll(readiness).toEqual({ status: "not ready" });
  expect(said(service)).not.toContain("ready");
  service.write("ready\n");
  await expect.poll(() => said(service)).toContain("ready");
  for (const [told, status] of [
    ["not", "not ready"],
    ["ready", "ready"],
  ] as const) {
    service.write(`${told}\n`);
    await expect.poll(readiness).toEqual({ status });
  }
  await service.stop();
  expect(said(service).filter((line) => line === "ready")).toEqual(["ready"]);
});

test("a part that does not answer whether it is ready makes the service not ready within a second or so", async () => {
  await using service = await started("late", { waitForReady: false, env: { READY: "never" } });
  await expect.poll(() => urlOf(service)).toBeDefined();
  const before = performance.now();
  const response = await fetch(`${urlOf(service)}/readyz`);
  expect([response.status, await response.json()]).toEqual([503, { status: "not ready" }]);
  expect(performance.now() - before).toBeLessThan(3_000);
});
