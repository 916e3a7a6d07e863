import { startProxy } from "@amqp-idioms/local-servers";
import { expect } from "vitest";
import { onPostgres as test, openOthers, person } from "../running.ts";

test("The database is unavailable: requests fail as retryable, and under the same key they are executed once when it is back", async ({
  vhost,
  database,
  startRegistry,
  cleanup,
}) => {
  const proxy = cleanup(await startProxy(database.url));
  const registry = await startRegistry({ DATABASE_URL: proxy.url });
  const others = cleanup(await openOthers(vhost.url));
  const before = await others.add(person, "key-1");

  proxy.refuse();
  proxy.cut();
  await expect(others.add(person, "key-2")).rejects.toMatchObject({ remoteCode: "internal_error", retryable: true });
  await expect.poll(async () => (await fetch(`${registry.url}/readyz`)).status).toBe(503);
  expect((await fetch(`${registry.url}/livez`)).status).toBe(200);

  proxy.accept();
  await expect.poll(async () => (await fetch(`${registry.url}/readyz`)).status).toBe(200);
  const patient = await others.add(person, "key-2");
  await expect(others.add(person, "key-2")).resolves.toEqual(patient);
  await expect(others.get(before.patientId)).resolves.toEqual(before);
  // The cut may come between a confirm and the deletion of its outbox row: then a notification is sent twice, under one message id
  const received = () => [...new Map(others.received.map(({ messageId, patient: one }) => [messageId, one])).values()];
  await expect.poll(received).toEqual([before, patient]);
});
