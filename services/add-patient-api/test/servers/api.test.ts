import { gzipSync } from "node:zlib";
import { addPatient, getPatient } from "@amqp-idioms/contracts";
import type { Patient } from "@amqp-idioms/contracts";
import { OperationError } from "amqp-kit";
import { describe, expect } from "vitest";
import { patient, person, playRegistry, post, problemOf, test as base } from "../running.ts";

/** The service, started once for this file. */
const test = base.extend("api", { scope: "file" }, async ({ startServiceOfFile }) =>
  startServiceOfFile("add-patient-api"),
);

describe("POST /patients", () => {
  test("answers 201 with the patient and its location", async ({ vhostOfFile, api, cleanup }) => {
    const registry = cleanup(await playRegistry(vhostOfFile.url));
    const response = await post(api, { ...person, given: " Zebedee ", unknown: 1 });
    expect(response.status).toBe(201);
    expect(response.headers.get("location")).toBe(`/patients/${patient.patientId}`);
    expect(response.headers.get("cache-control")).toBe("no-store");
    expect(await response.json()).toEqual(patient);
    expect(registry.requests.map((one) => one.person)).toEqual([person]);
  });

  test("accepts a missing and a null birth date", async ({ vhostOfFile, api, cleanup }) => {
    const registry = cleanup(await playRegistry(vhostOfFile.url));
    const { birthDate: _, ...without } = person;
    await post(api, without);
    await post(api, { ...without, birthDate: null });
    expect(registry.requests.map((one) => one.person)).toEqual([
      { ...without, birthDate: null },
      { ...without, birthDate: null },
    ]);
  });

  test("answers 400 to invalid input with the fields and rules but no values, and sends no request", async ({
    vhostOfFile,
    api,
    cleanup,
  }) => {
    const registry = cleanup(await playRegistry(vhostOfFile.url));
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
    expect(registry.requests).toEqual([]);
  });

  test("answers 413 to a body that is too large, and 415 to one that is not JSON", async ({ api }) => {
    expect(await problemOf(await post(api, { ...person, given: "x".repeat(17_000) }))).toMatchObject({
      http: 413,
      code: "message_too_large",
    });
    for (const type of ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x"]) {
      expect(await problemOf(await post(api, person, { "content-type": type }))).toMatchObject({ http: 415 });
    }
  });

  test("answers 400 to bytes that are not UTF-8, and 415 to another charset or a compressed body", async ({
    vhostOfFile,
    api,
    cleanup,
  }) => {
    const registry = cleanup(await playRegistry(vhostOfFile.url));
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
    expect(registry.requests).toEqual([]);
    expect((await send(json, { "content-type": 'application/json; charset="UTF-8"' })).status).toBe(201);
  });

  test("passes the Idempotency-Key to the registry, and sends each request without one under its own message id", async ({
    vhostOfFile,
    api,
    cleanup,
  }) => {
    const registry = cleanup(await playRegistry(vhostOfFile.url));
    for (const key of ['"8e03978e"', "8e03978e", String.raw`"with \"quotes\""`])
      await post(api, person, { "idempotency-key": key });
    await post(api, person);
    await post(api, person);
    const keys = registry.requests.map(({ delivery }) => delivery.idempotencyKey);
    expect(keys.slice(0, 3)).toEqual(["8e03978e", "8e03978e", 'with "quotes"']);
    expect(new Set(keys).size).toBe(4);
  });

  test("answers 422 to a key that was used with another body", async ({ vhostOfFile, api, cleanup }) => {
    const reused = new OperationError(addPatient, "idempotency_key_reused", {});
    cleanup(await playRegistry(vhostOfFile.url, { add: () => Promise.reject(reused) }));
    expect(await problemOf(await post(api, person, { "idempotency-key": "k" }))).toMatchObject({
      http: 422,
      code: "idempotency_key_reused",
      retryable: false,
    });
  });

  test("answers 502 without internals when the registry fails", async ({ vhostOfFile, api, cleanup }) => {
    const fault = new Error("relation of Quartermain does not exist");
    cleanup(await playRegistry(vhostOfFile.url, { add: () => Promise.reject(fault) }));
    const problem = await problemOf(await post(api, person));
    expect(problem).toMatchObject({ http: 502, code: "internal_error", retryable: true });
    expect(JSON.stringify(problem)).not.toContain("relation");
  });

  test("answers 502 when the response breaks the contract", async ({ vhostOfFile, api, cleanup }) => {
    cleanup(await playRegistry(vhostOfFile.url, { add: () => ({ ...patient, patientId: "none" }) }));
    expect(await problemOf(await post(api, person))).toMatchObject({ http: 502, code: "internal_error" });
  });
});

describe("GET /patients/:patientId", () => {
  test("answers 200 with the patient", async ({ vhostOfFile, api, cleanup }) => {
    cleanup(await playRegistry(vhostOfFile.url, { get: ({ patientId }) => ({ ...patient, patientId }) }));
    const response = await fetch(`${api.url}/patients/${patient.patientId}`);
    expect(response.status).toBe(200);
    expect(await response.json()).toEqual(patient);
  });

  test("answers 404 to an unknown patient and to an invalid patient id", async ({ vhostOfFile, api, cleanup }) => {
    const notFound = new OperationError(getPatient, "patient_not_found", { patientId: patient.patientId });
    cleanup(await playRegistry(vhostOfFile.url, { get: () => Promise.reject(notFound) }));
    for (const id of [patient.patientId, "Quartermain", "%00", "1"]) {
      const problem = await problemOf(await fetch(`${api.url}/patients/${id}`));
      expect(problem).toMatchObject({ http: 404, code: "patient_not_found" });
    }
  });
});

describe("When no response arrives", () => {
  test("answers 503 with Retry-After within 500 ms when there is no responder", async ({ api }) => {
    await post(api, person);
    for (const ask of [() => post(api, person), () => fetch(`${api.url}/patients/${patient.patientId}`)]) {
      const since = performance.now();
      const response = await ask();
      expect(performance.now() - since).toBeLessThan(500);
      expect(response.headers.get("retry-after")).toMatch(/^[1-9]\d*$/);
      expect(await problemOf(response)).toMatchObject({ http: 503, code: "no_responder", retryable: true });
    }
  });

  test("answers 503 when the registry has stopped, and 201 to the same request when it is back", async ({
    vhostOfFile,
    api,
    cleanup,
  }) => {
    const registry = await playRegistry(vhostOfFile.url);
    expect((await post(api, person)).status).toBe(201);
    await registry[Symbol.asyncDispose]();
    expect((await post(api, person, { "idempotency-key": "k" })).status).toBe(503);
    cleanup(await playRegistry(vhostOfFile.url));
    expect((await post(api, person, { "idempotency-key": "k" })).status).toBe(201);
  });

  test("answers 504 when the registry is too slow", async ({ vhostOfFile, api, cleanup }) => {
    const held = Promise.withResolvers<Patient>();
    cleanup(await playRegistry(vhostOfFile.url, { get: () => held.promise }));
    cleanup(() => held.resolve(patient));
    const since = performance.now();
    expect(await problemOf(await fetch(`${api.url}/patients/${patient.patientId}`))).toMatchObject({
      http: 504,
      code: "request_timeout",
      retryable: true,
    });
    expect(performance.now() - since).toBeGreaterThan(getPatient.timeoutMs - 100);
  });

  test("stops waiting when the client disconnects", async ({ vhostOfFile, api, cleanup }) => {
    const held = Promise.withResolvers<Patient>();
    const registry = cleanup(await playRegistry(vhostOfFile.url, { add: () => held.promise }));
    const leaving = new AbortController();
    const asked = post(api, person, {}, leaving.signal);
    await expect.poll(() => registry.requests.length).toBe(1);
    leaving.abort();
    await expect(asked).rejects.toThrow("aborted");
    held.resolve(patient);
    // The kit logs that no request waits for this response
    await expect
      .poll(() => api.lines.some(({ text }) => text.includes("reply without a pending request ignored")))
      .toBe(true);
    expect(api.lines.filter(({ json }) => json?.["level"] === "error")).toEqual([]);
  });
});
