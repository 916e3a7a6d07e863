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

function answer(person: object): unknown {
  return {
    code: 0,
    answer: { ...person, patientId: expect.stringMatching(uuid), registeredAt: expect.any(String) },
  };
}

function refusal(path: string): unknown {
  const problem = { code: "invalid_message", retryable: false, errors: [expect.objectContaining({ path })] };
  return { code: 1, answer: expect.objectContaining(problem) };
}

/** Whether this broker accepts a transient queue that several clients share, as the post declares it. */
async function isPermitted({ name, management }: VirtualHost): Promise<boolean> {
  try {
    await management.declareQueue(name, "probe", { durable: false, auto_delete: true });
  } catch {
    return false;
  }
  await management.deleteQueue(name, "probe");
  return true;
}

const requests = {
  "a person in JSON": '{"given": "Ann", "surname": "Ames", "birthDate": "1990-04-01"}',
  "the post's text": "given:John\nsurname:Smith",
  "JSON with a field missing": '{"given": "John"}',
  "JSON that is broken": '{"given": "John"',
  "text with a line missing": "given:John",
} as const;

describe("A Python requester", () => {
  test("gets patient-registry's answer to JSON and to text, and an error for an invalid request", async ({
    python,
    service,
  }) => {
    await service("patient-registry");
    const answers: Record<string, unknown> = {};
    for (const [kind, request] of Object.entries(requests)) {
      const { code, stdout } = await python.run("request_send.py", request);
      answers[kind] = { code, answer: JSON.parse(stdout) };
    }
    expect(answers).toEqual({
      "a person in JSON": answer({ given: "Ann", surname: "Ames", birthDate: "1990-04-01" }),
      "the post's text": answer(johnSmith),
      "JSON with a field missing": refusal("surname"),
      "JSON that is broken": refusal(""),
      "text with a line missing": refusal("surname"),
    } satisfies Record<keyof typeof requests, unknown>);
  });

  test("fails with the broker's NO_ROUTE or NOT_FOUND when there is no responder", async ({ python }) => {
    const { code, stderr } = await python.run("request_send.py");
    expect(stderr).toMatch(/NO_ROUTE|NOT_FOUND/);
    expect(code).toBe(1);
  });
});

describe("While patient-registry is stopped, a Python responder", () => {
  test("answers our API on the post's transient queue, or, where the broker refuses that queue, on a durable one", async ({
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

    // The second responder uses the existing queue, whatever its flags, and shares it
    await service("patient-registry");
    await expect.poll(() => vhost.management.queue(vhost.name, "add_patient")).toMatchObject({ consumers: 2 });
    expect(await responder.stop({ signal: "SIGINT" })).toMatchObject({ code: 0 });
    const { status, answer } = await post(api, johnSmith);
    expect(status).toBe(201);
    expect(await (await fetch(`${api.url}/patients/${String(answer["patientId"])}`)).json()).toEqual(answer);
  });

  test(
    "takes over patient-registry's queue, and patient-registry gets it back",
    { timeout: 120_000 },
    async ({ python, service }) => {
      const api = await service("add-patient-api");
      const registry = await service("patient-registry");
      expect(await post(api, johnSmith)).toMatchObject({ status: 201 });
      expect(await registry.stop()).toMatchObject({ code: 0 });

      const responder = await python.start("request_respond.py", "--durable");
      expect(await post(api, { given: "Ann", surname: "Ames" })).toMatchObject({
        status: 201,
        answer: { given: "Ann" },
      });
      expect(await responder.stop({ signal: "SIGINT" })).toMatchObject({ code: 0 });
      expect(await post(api, johnSmith)).toMatchObject({ status: 503, answer: { code: "no_responder" } });

      await service("patient-registry");
      expect(await post(api, johnSmith)).toMatchObject({ status: 201 });
    },
  );
});
