import { readFile } from "node:fs/promises";
import { addPatient, getPatient, patientAdded, scoreUpdates, system } from "@amqp-idioms/contracts";
import { type VirtualHost } from "@amqp-idioms/local-servers";
import { type Cleanup, test } from "@amqp-idioms/local-servers/vitest";
import { connect, TopologyError } from "amqp-kit";
import { expect } from "vitest";

type Service = keyof typeof system;

const patient = {
  patientId: "0b6e9ad4-6a9f-4a6c-9f0e-0d9f3a0a1c11",
  given: "Ann",
  surname: "Lee",
  birthDate: null,
  registeredAt: "2026-01-01T12:00:00Z",
};
const update = {
  match: "Final",
  home: { team: "Rovers", score: 1 },
  away: { team: "United", score: 0 },
  event: "Goal by Ida Holm, 12'",
  at: "2026-01-01T12:00:00Z",
};

/** The lines of docs/security.md, each run for a user of this virtual host alone. @returns each user's URL */
async function grantAsDocumented(
  { name, url, management }: VirtualHost,
  cleanup: Cleanup,
): Promise<Map<string, string>> {
  const document = await readFile(new URL("../../../docs/security.md", import.meta.url), "utf8");
  const lines = document.matchAll(/^rabbitmqctl set_permissions (\S+) '(.*)' '(.*)' '(.*)'$/gm);
  const urls = new Map<string, string>();
  for (const [, service = "", configure = "", write = "", read = ""] of lines) {
    const user = `${name}-${service}`;
    await management.createUser(user, "secret", { vhost: name, configure, write, read });
    cleanup(() => management.deleteUser(user));
    urls.set(service, url.replace(/\/\/[^@]*@/, `//${user}:secret@`));
  }
  return urls;
}

test("each service works under a user that has just the rights of docs/security.md", async ({ vhost, cleanup }) => {
  const urls = await grantAsDocumented(vhost, cleanup);
  expect([...urls.keys()]).toEqual(Object.keys(system));
  const join = async <N extends Service>(service: N) =>
    cleanup(await connect(urls.get(service) ?? "", { system, service }));
  const registry = await join("patient-registry");
  const [producer, display, api, scheduling, reporting] = await Promise.all([
    join("score-producer"),
    join("score-display"),
    join("add-patient-api"),
    join("scheduling"),
    join("reporting"),
  ]);

  const shown: string[] = [];
  await display.listen(scoreUpdates, ({ event }) => shown.push(event));
  await producer.broadcast(scoreUpdates, update);
  await expect.poll(() => shown).toEqual([update.event]);

  await registry.respond(addPatient, () => patient);
  await registry.respond(getPatient, () => patient);
  expect(await api.request(addPatient, { given: "Ann", surname: "Lee", birthDate: null })).toEqual(patient);
  expect(await api.request(getPatient, { patientId: patient.patientId })).toEqual(patient);

  // The first attempt fails and the second is refused: the ways to delay queue and dead queue are theirs, too
  const attempts: number[] = [];
  const booked: string[] = [];
  const retryDelaysMs = [100];
  await scheduling.subscribe(
    patientAdded,
    (_, { attempt, messageId }) => {
      attempts.push(attempt);
      if (messageId === "fails") throw new Error("not now");
      booked.push(messageId ?? "");
    },
    { retryDelaysMs },
  );
  const counted: string[] = [];
  await reporting.subscribe(patientAdded, (_, { messageId }) => counted.push(messageId ?? ""), { retryDelaysMs });
  await registry.notify(patientAdded, patient, { messageId: "fails" });
  await registry.notify(patientAdded, patient, { messageId: "works" });
  await expect.poll(() => booked).toEqual(["works"]);
  await expect.poll(() => counted).toEqual(["fails", "works"]);
  await expect.poll(() => attempts.toSorted((a, b) => a - b)).toEqual([1, 1, 2]);
  const dead = "notify.patient.add.scheduling.dead";
  await expect.poll(async () => (await vhost.management.queue(vhost.name, dead))?.messages).toBe(1);
});

test("under those rights nobody plays another's part, and each refusal says so", async ({ vhost, cleanup }) => {
  const urls = await grantAsDocumented(vhost, cleanup);
  cleanup(await connect(vhost.url, { system, service: "patient-registry" }));
  const as = async <N extends Service>(user: string, service: N) =>
    cleanup(await connect(urls.get(user) ?? "", { system, service }));
  for (const user of ["scheduling", "reporting", "add-patient-api", "score-producer", "score-display"]) {
    await expect(as(user, "patient-registry")).rejects.toThrow(TopologyError);
  }
  for (const user of ["scheduling", "reporting", "add-patient-api", "patient-registry"]) {
    await expect(as(user, "score-producer")).rejects.toThrow(TopologyError);
  }
  await expect(as("scheduling", "reporting")).rejects.toThrow(/not permitted/);
  await expect(as("reporting", "scheduling")).rejects.toThrow(/not permitted/);
});
