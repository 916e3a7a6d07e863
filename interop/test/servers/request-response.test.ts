import type { ServiceProcess, VirtualHost } from "@amqp-idioms/local-servers";
import { describe, expect } from "vitest";
import { test } from "../roles.ts";

const uuid = /^[0-9a-f-]{36}$/;
const johnSmith = { given: "John", surname: "Smith", birthDate: null };

async function post(api: ServiceProcess, body: unknown): Promise<{ status: number; answer: Record<string, unknown> }> {
  const response = await fetch(`${api.url}/patients`, {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify(body),
  });
  return { status: response.status, answer: JSON.parse(await response.text()) };
}

/** Whether this broker takes a transient queue that several clients share, as the post declares it. */
async function isPermitted({ name, management }: VirtualHost): Promise<boolean> {
  try {
    await management.declareQueue(name, "probe", { durable: false, auto_delete: true });
  } catch {
    return false;
  }
  await management.deleteQueue(name, "probe");
  return true;
}

describe("a Python requester", () => {
  test("gets patient-registry's answer to JSON", async ({ python, service }) => {
    await service("patient-registry");
    const person = { given: "Ann", surname: "Ames", birthDate: "1990-04-01" };
    const { code, stdout } = await python.run("request_send.py", JSON.stringify(person));
    expect(JSON.parse(stdout)).toMatchObject({ ...person, patientId: expect.stringMatching(uuid) });
    expect(code).toBe(0);
  });

  test("gets patient-registry's answer to the post's text", async ({ python, service }) => {
    await service("patient-registry");
    const { code, stdout } = await python.run("request_send.py");
    expect(JSON.parse(stdout)).toMatchObject({ ...johnSmith, patientId: expect.stringMatching(uuid) });
    expect(code).toBe(0);
  });

  test.for([
    ["JSON with a field missing", '{"given": "John"}', "surname"],
    ["JSON that is broken", '{"given": "John"', ""],
    ["text with a line missing", "given:John", "surname"],
  ] as const)("gets an error for %s", async ([, request, path], { python, service }) => {
    await service("patient-registry");
    const { code, stdout } = await python.run("request_send.py", request);
    expect(JSON.parse(stdout)).toMatchObject({ code: "invalid_message", retryable: false, errors: [{ path }] });
    expect(code).toBe(1);
  });

  test("learns that nobody answers", async ({ python }) => {
    const { code, stderr } = await python.run("request_send.py");
    expect(stderr).toMatch(/NO_ROUTE|NOT_FOUND/);
    expect(code).toBe(1);
  });
});

describe("with patient-registry stopped, a Python responder", () => {
  test("answers our API on the post's own queue, or is refused it by the broker and answers on a durable one", async ({
    python,
    service,
    vhost,
  }) => {
    const api = await service("add-patient-api");
    expect(await post(api, johnSmith)).toMatchObject({ status: 503, answer: { code: "no_responder" } });

    let responder: ServiceProcess;
    if (await isPermitted(vhost)) {
      responder = await python.start("request_respond.py");
      expect(await vhost.management.queue(vhost.name, "add_patient")).toMatchObject({
        durable: false,
        exclusive: false,
        auto_delete: true,
      });
    } else {
      const { code, stderr } = await python.run("request_respond.py");
      expect(stderr).toMatch(/\(541\) INTERNAL_ERROR.*transient_nonexcl_queues/);
      expect(code).toBe(1);
      responder = await python.start("request_respond.py", "--durable");
    }
    expect(await post(api, { given: "Ann", surname: "Ames" })).toMatchObject({
      status: 201,
      answer: { given: "Ann", surname: "Ames", birthDate: null, patientId: expect.stringMatching(uuid) },
    });

    // Whoever comes second uses the queue that stands, whatever its flags, and shares it
    await service("patient-registry");
    await expect.poll(() => vhost.management.queue(vhost.name, "add_patient")).toMatchObject({ consumers: 2 });
    expect(await responder.stop({ signal: "SIGINT" })).toMatchObject({ code: 0 });
    const { status, answer } = await post(api, johnSmith);
    expect(status).toBe(201);
    expect(await (await fetch(`${api.url}/patients/${String(answer["patientId"])}`)).json()).toEqual(answer);
  });

  test("takes over patient-registry's queue, and hands it back", { timeout: 120_000 }, async ({ python, service }) => {
    const api = await service("add-patient-api");
    const registry = await service("patient-registry");
    expect(await post(api, johnSmith)).toMatchObject({ status: 201 });
    expect(await registry.stop()).toMatchObject({ code: 0 });

    const responder = await python.start("request_respond.py", "--durable");
    expect(await post(api, { given: "Ann", surname: "Ames" })).toMatchObject({ status: 201, answer: { given: "Ann" } });
    expect(await responder.stop({ signal: "SIGINT" })).toMatchObject({ code: 0 });
    expect(await post(api, johnSmith)).toMatchObject({ status: 503, answer: { code: "no_responder" } });

    await service("patient-registry");
    expect(await post(api, johnSmith)).toMatchObject({ status: 201 });
  });
});

test("requesters in both languages are answered by responders in both", async ({ python, typescript }) => {
  for (const start of [
    () => python.start("request_respond.py", "--durable"),
    () => typescript.start("request-respond.ts"),
  ]) {
    const responder = await start();
    for (const { code, stdout } of [await python.run("request_send.py"), await typescript.run("request-send.ts")]) {
      expect(JSON.parse(stdout)).toMatchObject({ ...johnSmith, patientId: expect.stringMatching(uuid) });
      expect(code).toBe(0);
    }
    expect(await responder.stop({ signal: "SIGINT" })).toMatchObject({ code: 0 });
  }
});
