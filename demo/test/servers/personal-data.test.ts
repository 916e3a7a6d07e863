import { fileURLToPath } from "node:url";
import { addPatient, patientAdded } from "@amqp-idioms/contracts";
import { type ServiceProcess, startProcess } from "@amqp-idioms/local-servers";
import { test } from "@amqp-idioms/local-servers/vitest";
import { expect } from "vitest";

const person = { given: "Zaphod", surname: "Beeblebrox", birthDate: "1971-03-11" };
const telling = /Zaphod|Beeblebrox|1971-03-11/;

test("a patient's name and birth date are in no service's output, in no error and in no dead letter's headers, whatever goes wrong (pitfall 116)", async ({
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
  const refuse = async (answer: Response, status: number): Promise<void> => {
    expect(answer.status).toBe(status);
    errors.push(await answer.text());
  };

  // As it should be, and then wrong at every door
  expect((await post(person, { "idempotency-key": '"one"' })).status).toBe(201);
  await refuse(await post({ ...person, surname: "Prefect" }, { "idempotency-key": '"one"' }), 422);
  await refuse(await post({ ...person, birthDate: "1971-03-11 Zaphod" }), 400);
  await refuse(await post({ given: ["Zaphod"], Beeblebrox: 1 }), 400);
  await refuse(await post('{"given":"Zaphod'), 400);
  await refuse(await fetch(`${api}/patients/Zaphod%20Beeblebrox`), 404);
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
    // What was set aside is there, unharmed; what is told about it says nothing of it
    expect(messages[0]?.payload).toMatch(telling);
    headers.push(...messages.map(({ properties }) => JSON.stringify(properties)));
  }
  await registry.stop();
  await refuse(await post(person), 503);
  for (const service of services.slice(1)) expect(await service.stop()).toMatchObject({ code: 0 });

  const output = services.flatMap(({ lines }) => lines.map(({ text }) => text));
  expect(output.join("\n")).toContain("appointment booked");
  expect([...output, ...errors, ...headers].filter((line) => telling.test(line))).toEqual([]);
});
