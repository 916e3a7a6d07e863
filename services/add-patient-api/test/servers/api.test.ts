import { once } from "node:events";
import { gzipSync } from "node:zlib";
import { addPatient, getPatient } from "@amqp-idioms/contracts";
import type { Patient } from "@amqp-idioms/contracts";
import { OperationError } from "amqp-kit";
import { describe, expect } from "vitest";
import { z } from "zod";
import { patient, person, playRegistry, post, problemOf, test } from "./running.ts";

/** Of the document, what is looked at here. */
const OpenApi = z.object({
  openapi: z.string(),
  paths: z.record(
    z.string(),
    z.record(
      z.string(),
      z.object({ responses: z.record(z.string(), z.unknown()), parameters: z.array(z.unknown()).optional() }),
    ),
  ),
  components: z.object({ schemas: z.record(z.string(), z.object({ required: z.array(z.string()).optional() })) }),
});

describe("POST /patients", () => {
  test("answers 201 with the patient and where it is", async ({ vhost, startService, cleanup }) => {
    const registry = cleanup(await playRegistry(vhost.url));
    const api = await startService("add-patient-api");
    const response = await post(api, { ...person, given: " Zebedee ", unknown: 1 });
    expect(response.status).toBe(201);
    expect(response.headers.get("location")).toBe(`/patients/${patient.patientId}`);
    expect(response.headers.get("cache-control")).toBe("no-store");
    expect(await response.json()).toEqual(patient);
    expect(registry.asked.map((one) => one.person)).toEqual([person]);
  });

  test("the birth date may be left out or null", async ({ vhost, startService, cleanup }) => {
    const registry = cleanup(await playRegistry(vhost.url));
    const api = await startService("add-patient-api");
    const { birthDate: _, ...without } = person;
    await post(api, without);
    await post(api, { ...without, birthDate: null });
    expect(registry.asked.map((one) => one.person)).toEqual([
      { ...without, birthDate: null },
      { ...without, birthDate: null },
    ]);
  });

  test("invalid input is 400 with the list of fields and rules, without their values, and nobody is asked", async ({
    vhost,
    startService,
    cleanup,
  }) => {
    const registry = cleanup(await playRegistry(vhost.url));
    const api = await startService("add-patient-api");
    const invalid = async (body: unknown, headers = {}): Promise<unknown> => {
      const problem = await problemOf(await post(api, body, headers));
      expect(problem).toMatchObject({ http: 400, status: 400, code: "invalid_message" });
      expect(JSON.stringify(problem)).not.toMatch(/Zebedee|Quartermain/);
      return problem["errors"];
    };
    const rule = expect.any(String);
    expect(await invalid({})).toEqual([
      { path: "given", rule },
      { path: "surname", rule },
    ]);
    expect(await invalid({ given: " ", surname: ["Quartermain"], birthDate: "Zebedee" })).toEqual([
      { path: "given", rule },
      { path: "surname", rule },
      { path: "birthDate", rule },
    ]);
    expect(await invalid({ ...person, given: "x".repeat(201) })).toEqual([{ path: "given", rule }]);
    expect(await invalid({ ...person, given: "a\u0000b", surname: "\ud800" })).toEqual([
      { path: "given", rule },
      { path: "surname", rule },
    ]);
    for (const birthDate of ["2023-02-29", "28.02.1990", "0000-01-01", "1990-2-3", "", 19900228]) {
      expect(await invalid({ ...person, birthDate })).toEqual([{ path: "birthDate", rule }]);
    }
    for (const body of ["", "{", '"Zebedee"', "null", "[]", '{"given":"Zebedee","__proto__":{}}']) {
      expect(await invalid(body)).toEqual([{ path: "", rule }]);
    }
    expect(await invalid(person, { "idempotency-key": '"a", "b"' })).toEqual([{ path: "idempotency-key", rule }]);
    expect(await invalid(person, { "idempotency-key": "k".repeat(256) })).toEqual([{ path: "idempotency-key", rule }]);
    expect(registry.asked).toEqual([]);
  });

  test("a body that is too large is 413, one that is not JSON 415", async ({ startService }) => {
    const api = await startService("add-patient-api");
    expect(await problemOf(await post(api, { ...person, given: "x".repeat(17_000) }))).toMatchObject({
      http: 413,
      code: "message_too_large",
    });
    for (const type of ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x"]) {
      expect(await problemOf(await post(api, person, { "content-type": type }))).toMatchObject({ http: 415 });
    }
  });

  test("bytes that are not UTF-8 are 400, another charset or a compressed body 415: none becomes a wrong name", async ({
    vhost,
    startService,
    cleanup,
  }) => {
    const registry = cleanup(await playRegistry(vhost.url));
    const api = await startService("add-patient-api");
    const send = (body: Buffer, headers: Record<string, string> = {}): Promise<Response> =>
      fetch(`${api.url}/patients`, {
        method: "POST",
        body,
        headers: { "content-type": "application/json", ...headers },
      });
    const latin1 = Buffer.from('{"given":"J\u00f6rg","surname":"Quartermain"}', "latin1");
    expect(await problemOf(await send(latin1))).toMatchObject({ http: 400, code: "invalid_message" });
    const type = "application/json; charset=iso-8859-1";
    expect(await problemOf(await send(latin1, { "content-type": type }))).toMatchObject({ http: 415 });
    const json = Buffer.from(JSON.stringify(person));
    expect(await problemOf(await send(gzipSync(json), { "content-encoding": "gzip" }))).toMatchObject({ http: 415 });
    expect(registry.asked).toEqual([]);
    expect((await send(json, { "content-type": 'application/json; charset="UTF-8"' })).status).toBe(201);
  });

  test("the Idempotency-Key travels to the registry; without one each request has a message id of its own", async ({
    vhost,
    startService,
    cleanup,
  }) => {
    const registry = cleanup(await playRegistry(vhost.url));
    const api = await startService("add-patient-api");
    for (const key of ['"8e03978e"', "8e03978e", String.raw`"with \"quotes\""`])
      await post(api, person, { "idempotency-key": key });
    await post(api, person);
    await post(api, person);
    const keys = registry.asked.map(({ delivery }) => delivery.idempotencyKey);
    expect(keys.slice(0, 3)).toEqual(["8e03978e", "8e03978e", 'with "quotes"']);
    expect(new Set(keys).size).toBe(4);
  });

  test("a key that was used with another body is 422", async ({ vhost, startService, cleanup }) => {
    const reused = new OperationError(addPatient, "idempotency_key_reused", {});
    cleanup(await playRegistry(vhost.url, { add: () => Promise.reject(reused) }));
    const api = await startService("add-patient-api");
    expect(await problemOf(await post(api, person, { "idempotency-key": "k" }))).toMatchObject({
      http: 422,
      code: "idempotency_key_reused",
      retryable: false,
    });
  });

  test("a registry that fails is 502 and shows no internals", async ({ vhost, startService, cleanup }) => {
    const fault = new Error("relation of Quartermain does not exist");
    cleanup(await playRegistry(vhost.url, { add: () => Promise.reject(fault) }));
    const api = await startService("add-patient-api");
    const problem = await problemOf(await post(api, person));
    expect(problem).toMatchObject({ http: 502, code: "internal_error", retryable: true });
    expect(JSON.stringify(problem)).not.toContain("relation");
  });

  test("an answer that breaks the contract is 502", async ({ vhost, startService, cleanup }) => {
    cleanup(await playRegistry(vhost.url, { add: () => ({ ...patient, patientId: "none" }) }));
    const api = await startService("add-patient-api");
    expect(await problemOf(await post(api, person))).toMatchObject({ http: 502, code: "internal_error" });
  });
});

describe("GET /patients/:patientId", () => {
  test("answers 200 with the patient", async ({ vhost, startService, cleanup }) => {
    cleanup(await playRegistry(vhost.url, { get: ({ patientId }) => ({ ...patient, patientId }) }));
    const api = await startService("add-patient-api");
    const response = await fetch(`${api.url}/patients/${patient.patientId}`);
    expect(response.status).toBe(200);
    expect(await response.json()).toEqual(patient);
  });

  test("an unknown patient is 404, and so is what cannot be a patient's id", async ({
    vhost,
    startService,
    cleanup,
  }) => {
    const notFound = new OperationError(getPatient, "patient_not_found", { patientId: patient.patientId });
    cleanup(await playRegistry(vhost.url, { get: () => Promise.reject(notFound) }));
    const api = await startService("add-patient-api");
    for (const id of [patient.patientId, "Quartermain", "%00", "1"]) {
      const problem = await problemOf(await fetch(`${api.url}/patients/${id}`));
      expect(problem).toMatchObject({ http: 404, code: "patient_not_found" });
    }
  });
});

describe("when nobody can answer", () => {
  test("no responder is 503 with Retry-After, within 500 ms", async ({ startService }) => {
    const api = await startService("add-patient-api");
    await post(api, person);
    for (const ask of [() => post(api, person), () => fetch(`${api.url}/patients/${patient.patientId}`)]) {
      const since = performance.now();
      const response = await ask();
      expect(performance.now() - since).toBeLessThan(500);
      expect(response.headers.get("retry-after")).toMatch(/^[1-9]\d*$/);
      expect(await problemOf(response)).toMatchObject({ http: 503, code: "no_responder", retryable: true });
    }
  });

  test("a registry that has left is 503, and the same request is taken when it is back", async ({
    vhost,
    startService,
    cleanup,
  }) => {
    const registry = await playRegistry(vhost.url);
    const api = await startService("add-patient-api");
    expect((await post(api, person)).status).toBe(201);
    await registry[Symbol.asyncDispose]();
    expect((await post(api, person, { "idempotency-key": "k" })).status).toBe(503);
    cleanup(await playRegistry(vhost.url));
    expect((await post(api, person, { "idempotency-key": "k" })).status).toBe(201);
  });

  test("a registry that is too slow is 504", async ({ vhost, startService, cleanup }) => {
    cleanup(await playRegistry(vhost.url, { add: (_person, { signal }) => aborted(signal) }));
    const api = await startService("add-patient-api");
    const since = performance.now();
    expect(await problemOf(await post(api, person))).toMatchObject({
      http: 504,
      code: "request_timeout",
      retryable: true,
    });
    expect(performance.now() - since).toBeGreaterThan(addPatient.timeoutMs - 100);
  });

  test("a client that goes away ends the wait", async ({ vhost, startService, cleanup }) => {
    const held = Promise.withResolvers<Patient>();
    const registry = cleanup(await playRegistry(vhost.url, { add: () => held.promise }));
    const api = await startService("add-patient-api");
    const leaving = new AbortController();
    const asked = post(api, person, {}, leaving.signal);
    await expect.poll(() => registry.asked.length).toBe(1);
    leaving.abort();
    await expect(asked).rejects.toThrow("aborted");
    held.resolve(patient);
    // Nobody waits for this answer any more: the kit says so
    await expect
      .poll(() => api.lines.some(({ text }) => text.includes("reply without a pending request ignored")))
      .toBe(true);
    expect(api.lines.filter(({ json }) => json?.["level"] === "error")).toEqual([]);
  });
});

describe("the process", () => {
  test("stops in good order while requests are running, which get their answers", async ({
    vhost,
    startService,
    cleanup,
  }) => {
    const held = Promise.withResolvers<Patient>();
    const registry = cleanup(await playRegistry(vhost.url, { add: () => held.promise }));
    const api = await startService("add-patient-api");
    const asked = Array.from({ length: 10 }, () => post(api, person));
    await expect.poll(() => registry.asked.length).toBe(10);
    const stopped = api.stop();
    await expect.poll(() => api.lines.some(({ json }) => json?.["msg"] === "stopping")).toBe(true);
    held.resolve(patient);
    expect((await Promise.all(asked)).map(({ status }) => status)).toEqual(Array.from({ length: 10 }, () => 201));
    expect(await stopped).toMatchObject({ code: 0, signal: null });
  });

  test("has no other faults than it says: a wrong broker URL ends it with one clear message and no password (pitfall 110)", async ({
    startService,
  }) => {
    const starting = startService("add-patient-api", { AMQP_URL: "http://user:Quartermain@localhost", PORT: "x" });
    await expect(starting).rejects.toThrow(/AMQP_URL[\s\S]*PORT/);
    await expect(starting).rejects.not.toThrow("Quartermain");
  });
});

test("over its rate limit an address gets 429, and when to come back", async ({ startService }) => {
  const api = await startService("add-patient-api", { RATE_LIMIT_PER_MINUTE: "1" });
  const url = `${api.url}/patients/9d090fa0-e585-4070-9003-b649540ab258`;
  expect((await fetch(url)).status).toBe(503);
  const limited = await fetch(url);
  expect([limited.status, await limited.json()]).toMatchObject([429, { code: "rate_limited", retryable: true }]);
  expect(limited.headers.get("retry-after")).toMatch(/^\d+$/);
});

describe("for people", () => {
  test("/openapi.json describes both operations, with their problems", async ({ startService }) => {
    const api = await startService("add-patient-api");
    const document = OpenApi.parse(await (await fetch(`${api.url}/openapi.json`)).json());
    expect(document.openapi).toBe("3.1.0");
    expect(Object.keys(document.paths)).toEqual(["/patients", "/patients/{patientId}"]);
    const add = document.paths["/patients"]?.["post"];
    expect(Object.keys(add?.responses ?? {})).toEqual(["201", "400", "413", "415", "422", "429", "502", "503", "504"]);
    const find = document.paths["/patients/{patientId}"]?.["get"];
    expect(Object.keys(find?.responses ?? {})).toEqual(["200", "404", "429", "502", "503", "504"]);
    expect(add?.parameters).toEqual([expect.objectContaining({ in: "header", name: "idempotency-key" })]);
    const { schemas } = document.components;
    expect(Object.keys(schemas)).toEqual(expect.arrayContaining(["NewPatientInput", "Patient", "Problem"]));
    expect(Object.keys(schemas)).not.toContain("ScoreUpdate");
    expect(schemas["NewPatientInput"]?.required).toEqual(["given", "surname"]);
    const refs = JSON.stringify(document.paths).match(/#\/components\/schemas\/\w+/g) ?? [];
    expect(refs.filter((ref) => !(ref.slice(21) in schemas))).toEqual([]);
  });

  test("a page to try it runs no foreign script, and shows what people typed as text", async ({ startService }) => {
    const api = await startService("add-patient-api");
    const page = await fetch(api.url);
    const policy = page.headers.get("content-security-policy") ?? "";
    expect(policy).toContain("default-src 'none'");
    expect(policy).toContain("script-src 'self'");
    expect(policy).not.toContain("unsafe");
    expect(page.headers.get("x-content-type-options")).toBe("nosniff");
    const html = await page.text();
    const links = [...html.matchAll(/(?:src|href)="([^"]+)"/g)].map(([, link = ""]) => link);
    expect(links).toEqual(["data:,", "/page.css", "/page.js", "/openapi.json"]);
    expect(html).not.toMatch(/<script(?! type="module" src)|\son\w+=|<style/);
    const script = await fetch(`${api.url}/page.js`);
    expect(script.headers.get("content-type")).toContain("text/javascript");
    expect(await script.text()).not.toMatch(/innerHTML|outerHTML|insertAdjacentHTML|document\.write|eval\(/);
    expect((await fetch(`${api.url}/page.css`)).status).toBe(200);
  });
});

/** Until the time limit, and a bit longer. */
async function aborted(signal: AbortSignal): Promise<Patient> {
  if (!signal.aborted) await once(signal, "abort");
  return patient;
}
