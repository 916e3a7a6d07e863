import { fileURLToPath } from "node:url";
import { addPatient, patientAdded } from "@amqp-idioms/contracts";
import { type ServiceProcess, startProcess } from "@amqp-idioms/local-servers";
import { test } from "@amqp-idioms/local-servers/vitest";
import { expect } from "vitest";

const person = { given: "Zaphod", surname: "Beeblebrox", birthDate: "1971-03-11" };
const personal = /Zaphod|Beeblebrox|1971-03-11/;

test("Neither valid nor invalid input puts a patient's name or birth date into a service's output, an error or a dead letter's headers (pitfall 116)", async ({
  vhost,
  database,
  cleanup,
}) => {
  const start = async (service: string, env: Record<string, string> = {}): Promise<ServiceProcess> => {
    const main = fileURLToPath(new URL(`../../../services/${service}/src/main.ts`, import.meta.url));
    const common = { AMQP_URL: vhost.url, DATABASE_URL: database.url, PORT: "0", LOG_LEVEL: "trace" };
    return cleanup(await startProcess({ name: service, main, env: { ...common, ...env } }));
  };
  const registry = await start("patient-registry");
  const services = [registry, await start("scheduling"), await start("reporting"), await start("add-patient-api")];
  const api = services.at(-1)?.url ?? "";
  const post = (body: unknown, headers: Record<string, string> = {}): Promise<Response> =>
    fetch(`${api}/patients`, {
      method: "POST",
      headers: { "content-type": "application/json", ...headers },
      body: typeof body === "string" ? body : JSON.stringify(body),
    });
  const errors: string[] = [];
  const expectRefusal = async (answer: Response, status: number): Promise<void> => {
    expect(answer.status).toBe(status);
    errors.push(await answer.text());
  };

  // One valid request, then every kind of invalid input at every entry point
  expect((await post(person, { "idempotency-key": '"one"' })).status).toBe(201);
  await expectRefusal(await post({ ...person, surname: "Prefect" }, { "idempotency-key": '"one"' }), 422);
  await expectRefusal(await post({ ...person, birthDate: "1971-03-11 Zaphod" }), 400);
  await expectRefusal(await post({ given: ["Zaphod"], Beeblebrox: 1 }), 400);
  await expectRefusal(await post('{"given":"Zaphod'), 400);
  await expectRefusal(await fetch(`${api}/patients/Zaphod%20Beeblebrox`), 404);
  const json = { content_type: "application/json" };
  const badNotifications = [
    JSON.stringify({ ...person, patientId: "Zaphod", registeredAt: "Beeblebrox" }),
    JSON.stringify({ given: { Zaphod: 1 } }),
    '{"given":"Zaphod',
    "given:Zaphod\nsurname:Beeblebrox",
  ];
  for (const body of badNotifications) {
    await vhost.management.publish(vhost.name, { exchange: patientAdded.name, body, properties: json });
  }
  for (const properties of [json, { ...json, reply_to: "amq.gen-nobody" }, { reply_to: "amq.gen-nobody" }]) {
    const toRegistry = { exchange: addPatient.exchange, routingKey: addPatient.name, properties };
    await vhost.management.publish(vhost.name, {
      ...toRegistry,
      body: JSON.stringify({ ...person, birthDate: "Zaphod" }),
    });
    await vhost.management.publish(vhost.name, { ...toRegistry, body: "given:Zaphod" });
  }

  const headers: string[] = [];
  for (const service of ["scheduling", "reporting"]) {
    const dead = `${patientAdded.name}.${service}.dead`;
    await expect.poll(() => vhost.management.getMessages(vhost.name, dead)).toHaveLength(badNotifications.length);
    const messages = await vhost.management.getMessages(vhost.name, dead);
    // The dead letter keeps the body; its headers contain nothing of it
    expect(messages[0]?.payload).toMatch(personal);
    headers.push(...messages.map(({ properties }) => JSON.stringify(properties)));
  }
  await registry.stop();
  await expectRefusal(await post(person), 503);
  for (const service of services.slice(1)) expect(await service.stop()).toMatchObject({ code: 0 });

  const output = services.flatMap(({ lines }) => lines.map(({ text }) => text));
  expect(output.join("\n")).toContain("appointment booked");
  expect([...output, ...errors, ...headers].filter((line) => personal.test(line))).toEqual([]);
});
