import { readFile } from "node:fs/promises";
import { fileURLToPath } from "node:url";
import { patientAdded } from "@amqp-idioms/contracts";
import { startProcess } from "@amqp-idioms/local-servers";
import { test as base } from "@amqp-idioms/local-servers/vitest";
import type { Cleanup } from "@amqp-idioms/local-servers/vitest";
import { Client } from "pg";
import { describe, expect } from "vitest";
import { json, killAfterCommit, sendEachTwice, stopInTheMiddle } from "../subscriber-scenarios.ts";
import {
  connectRegistry,
  messagesOf,
  newPatient,
  outcomesOf,
  patientCount,
  publish,
  queueOf,
  type Running,
  startBoth,
} from "../subscribers.ts";

/** Both subscribers and a notifier, started once for this file. */
const test = base
  .extend("started", { scope: "file" }, async ({ vhostOfFile, databaseOfFileOrReason: { url }, cleanupOfFile }) => {
    const registry = cleanupOfFile(await connectRegistry(vhostOfFile.url));
    const env = { AMQP_URL: vhostOfFile.url, LOG_LEVEL: "trace" };
    const running = url === undefined ? [] : await startBoth(cleanupOfFile, { ...env, DATABASE_URL: url });
    return { registry, running };
  })
  // Skipped without a PostgreSQL
  .extend("both", ({ started, databaseOfFile }) => (databaseOfFile.url.length > 0 ? started.running : []));

async function expectHandled(running: Running[], counts: { more: number; before: number[] }): Promise<void> {
  for (const [index, one] of running.entries()) {
    const expected = (counts.before[index] ?? 0) + counts.more;
    await expect.poll(() => patientCount(one), { message: `patients of ${one.subscriber.name}` }).toBe(expected);
  }
}

describe("scheduling and reporting", () => {
  test("handle a notification once that arrives twice: with its message id, with a new one, and without one", async ({
    both,
    started,
    vhostOfFile,
  }) => {
    await sendEachTwice(started.registry, vhostOfFile, both);
  });

  test("handle two patients that arrive under the same message id", async ({ both, started: { registry } }) => {
    const before = await Promise.all(both.map(patientCount));
    for (const patient of [newPatient(), newPatient()]) {
      await registry.notify(patientAdded, patient, { messageId: "1" });
    }
    await expectHandled(both, { before, more: 2 });
  });

  test("dead-letter a malformed notification with its reason, and handle the next one", async ({
    both,
    started: { registry },
    vhostOfFile,
  }) => {
    const before = await Promise.all(both.map(patientCount));
    await publish(vhostOfFile, "given:John\nsurname:Smith", {});
    const invalid = { ...newPatient({ given: "Zaphod" }), birthDate: "2026-02-30" };
    await publish(vhostOfFile, JSON.stringify(invalid), json);
    await registry.notify(patientAdded, newPatient());
    await expectHandled(both, { before, more: 1 });

    for (const { subscriber } of both) {
      const dead = await vhostOfFile.management.getMessages(vhostOfFile.name, `${queueOf(subscriber)}.dead`);
      expect(dead.map(({ payload }) => payload)[0]).toBe("given:John\nsurname:Smith");
      const headers = dead.map(({ properties }) => properties.headers);
      expect(headers.map((header) => header?.["amqp-kit-reason"])).toEqual(["invalid_message", "invalid_message"]);
      expect(headers[1]?.["amqp-kit-error"]).toContain("birthDate");
      expect(headers[1]?.["amqp-kit-service-version"]).toMatch(/^\d+\.\d+\.\d+/);
      expect(JSON.stringify(headers)).not.toMatch(/Zaphod|2026-02-30/);
    }
  });

  test("log no personal data, even at level trace (pitfall 116)", async ({
    both,
    started: { registry },
    vhostOfFile,
  }) => {
    const before = await Promise.all(both.map(patientCount));
    const person = newPatient({ given: "Zaphod", surname: "Beeblebrox", birthDate: "1971-03-11" });
    await registry.notify(patientAdded, person);
    await publish(vhostOfFile, JSON.stringify({ ...person, registeredAt: "Zaphod was here" }), json);
    await publish(vhostOfFile, "given:Zaphod\nsurname:Beeblebrox", {});
    await registry.notify(patientAdded, newPatient({ given: "Zaphod" }));
    await expectHandled(both, { before, more: 2 });
    for (const { process } of both) {
      expect(await process.stop()).toMatchObject({ code: 0 });
      expect(process.lines.map(({ text }) => text).join("\n")).not.toMatch(/Zaphod|Beeblebrox|1971-03-11/);
    }
  });

  test("exit 0 when they are stopped in the middle of their work, and the next run handles the rest once", async ({
    vhost,
    database,
    cleanup,
  }) => {
    await stopInTheMiddle({ vhost, cleanup, env: { AMQP_URL: vhost.url, DATABASE_URL: database.url } });
  });

  test("handle a patient once when they are killed between commit and acknowledgement (pitfall 59)", async ({
    vhost,
    database,
    cleanup,
  }) => {
    await killAfterCommit({ vhost, cleanup, env: { AMQP_URL: vhost.url, DATABASE_URL: database.url } });
  });

  test("write inbox and effect in one transaction: killed between them, they have written neither", async ({
    vhost,
    database,
    cleanup,
  }) => {
    const env = { DATABASE_URL: database.url, AMQP_URL: vhost.url };
    const registry = cleanup(await connectRegistry(vhost.url));
    const doomed = await startBoth(cleanup, env);
    const client = new Client(database.url);
    cleanup(() => client.end());
    await client.connect();
    await client.query("begin");
    // Reads continue. The statement that writes the effect waits for this lock
    await client.query("lock table scheduling.appointment, reporting.registration in exclusive mode");
    await registry.notify(patientAdded, newPatient());
    const waiting = `select 1 from pg_locks where not granted
      and relation in ('scheduling.appointment'::regclass, 'reporting.registration'::regclass)`;
    await expect.poll(async () => (await client.query(waiting)).rows).toHaveLength(2);
    for (const { process } of doomed) await process.kill();
    await client.query("rollback");

    for (const one of await startBoth(cleanup, env)) {
      await expect
        .poll(() => outcomesOf(one), { message: `outcomes of ${one.subscriber.name}` })
        .toEqual({ handled: 1, duplicates: 0 });
    }
  });

  test("log what they wait for before their notifier has ever run, and do what their READMEs show", async ({
    vhost,
    database,
    cleanup,
  }) => {
    const env = { AMQP_URL: vhost.url };
    const both = await startBoth(cleanup, { ...env, DATABASE_URL: database.url }, { waitForReady: false });
    for (const one of both) {
      await expect.poll(() => messagesOf(one).join("\n")).toContain("the notifier's exchange does not exist yet");
      expect(messagesOf(one)).not.toContain("ready");
    }
    const printed = await Promise.all(both.map((one) => runReadmeExample(one, env, cleanup)));
    for (const [index, one] of both.entries()) {
      await expect.poll(() => messagesOf(one)).toContain("ready");
      expect(printed[index]).toMatch(/^sent(?: twice)?: [0-9a-f-]{36}$/);
      // The examples send one patient, and another one twice
      await expect
        .poll(() => outcomesOf(one), { message: `outcomes of ${one.subscriber.name}` })
        .toEqual({ handled: 2, duplicates: 1 });
    }
    const [scheduling = "", reporting = ""] = await Promise.all(
      both.map(async ({ subscriber, process }) => {
        // They were not waited for, so the process does not know its port
        const port = process.lines.find(({ json }) => json?.["msg"] === "ready")?.json?.["port"];
        return (await fetch(`http://127.0.0.1:${String(port)}${subscriber.path}`)).text();
      }),
    );
    for (const line of printed) expect(scheduling).toContain(`"patientId":"${line.split(": ")[1]}"`);
    // Born in 1980, both patients
    expect(JSON.parse(reporting)).toMatchObject({ ageBands: expect.arrayContaining([{ band: "40-64", count: 2 }]) });
  });
});

/** @returns the line that the example prints */
async function runReadmeExample({ subscriber }: Running, env: { AMQP_URL: string }, cleanup: Cleanup): Promise<string> {
  const folder = new URL(`../../../services/${subscriber.name}/`, import.meta.url);
  const readme = await readFile(new URL("README.md", folder), "utf8");
  const script = /```sh\n(.*?)```/s.exec(readme)?.[1] ?? "";
  const example = cleanup(
    await startProcess({ command: "bash", args: ["-ec", script], cwd: fileURLToPath(folder), env }),
  );
  expect(await example.exited).toMatchObject({ code: 0 });
  return example.lines[0]?.text ?? "";
}
