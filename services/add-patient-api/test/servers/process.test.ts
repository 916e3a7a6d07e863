import type { Patient } from "@amqp-idioms/contracts";
import { expect } from "vitest";
import { patient, person, playRegistry, post, test } from "../running.ts";

test("Stops gracefully while requests are in flight, and answers them", async ({ vhost, startService, cleanup }) => {
  const held = Promise.withResolvers<Patient>();
  const registry = cleanup(await playRegistry(vhost.url, { add: () => held.promise }));
  const api = await startService("add-patient-api");
  const asked = Array.from({ length: 10 }, () => post(api, person));
  await expect.poll(() => registry.requests.length).toBe(10);
  const stopped = api.stop();
  await expect.poll(() => api.lines.some(({ json }) => json?.["msg"] === "stopping")).toBe(true);
  held.resolve(patient);
  expect((await Promise.all(asked)).map(({ status }) => status)).toEqual(Array.from({ length: 10 }, () => 201));
  expect(await stopped).toMatchObject({ code: 0, signal: null });
});

test("Invalid settings end the process with one clear message that shows no password (pitfall 110)", async ({
  startService,
}) => {
  const starting = startService("add-patient-api", { AMQP_URL: "http://user:Quartermain@localhost", PORT: "x" });
  await expect(starting).rejects.toThrow(/AMQP_URL[\s\S]*PORT/);
  await expect(starting).rejects.not.toThrow("Quartermain");
});

test("An address over its rate limit gets 429 with Retry-After", async ({ startService }) => {
  const api = await startService("add-patient-api", { RATE_LIMIT_PER_MINUTE: "1" });
  const url = `${api.url}/patients/9d090fa0-e585-4070-9003-b649540ab258`;
  expect((await fetch(url)).status).toBe(503);
  const limited = await fetch(url);
  expect([limited.status, await limited.json()]).toMatchObject([429, { code: "rate_limited", retryable: true }]);
  expect(limited.headers.get("retry-after")).toMatch(/^\d+$/);
});
