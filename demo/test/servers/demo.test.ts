import { globSync, mkdtempSync, readdirSync, readFileSync, realpathSync, rmSync } from "node:fs";
import { chmod, readFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { patientAdded, system } from "@amqp-idioms/contracts";
import { type ServiceProcess, startProcess } from "@amqp-idioms/local-servers";
import { test } from "@amqp-idioms/local-servers/vitest";
import { connect } from "amqp-kit";
import { describe, expect, onTestFinished } from "vitest";

const root = fileURLToPath(new URL("../../../", import.meta.url));
const steps = [
  "Broadcast: live scores",
  "Request/response, and notify: a patient is added",
  "Notify: scheduling is down for a while",
  "Request/response: patient-registry is down for a while",
  "All of them: the broker goes away under load",
];

/** A temporary folder of the demo's own: all that it starts has it in its environment. */
async function privateTmp(): Promise<string> {
  const folder = realpathSync(mkdtempSync(join(tmpdir(), "demo-test-")));
  onTestFinished(() => rmSync(folder, { recursive: true, force: true }));
  // A broker runs under another user
  await chmod(folder, 0o755);
  return folder;
}

/** As `npm run demo` does. */
async function startDemo(
  folder: string,
  args: string[],
  env: Record<string, string | undefined>,
): Promise<ServiceProcess> {
  const command = process.execPath;
  const options = { args: ["scripts/run.mjs", "demo/src/main.ts", ...args], cwd: root, waitForReady: false };
  return startProcess({ name: "demo", command, ...options, env: { TMPDIR: folder, ...env } });
}

function processesOf(folder: string): string[] {
  return globSync("/proc/[0-9]*").filter((path) => {
    try {
      return readFileSync(`${path}/environ`, "utf8").includes(`TMPDIR=${folder}`);
    } catch {
      return false;
    }
  });
}

function said(demo: ServiceProcess): string {
  return demo.lines.map(({ text }) => text).join("\n");
}

describe("npm run demo", () => {
  test(
    "-- --once --report FILE plays every step, writes what was observed, and leaves nothing behind",
    { timeout: 300_000 },
    async ({ broker, cleanup }) => {
      const folder = await privateTmp();
      const file = join(folder, "report.json");
      const from = broker.source === "named" ? undefined : broker.source;
      const demo = cleanup(await startDemo(folder, ["--once", "--report", file], { RABBITMQ_FROM: from }));
      const { code } = await demo.exited;
      expect({ code, said: said(demo) }).toMatchObject({ code: 0 });

      const report = JSON.parse(await readFile(file, "utf8"));
      expect(report).toMatchObject({
        ok: true,
        steps: steps.map((name) => ({ name, ok: true, ms: expect.any(Number) })),
      });
      const [scores, added, down, repeated] = report.steps;
      const { "score-display 1": all, "score-display 2": beginning, "score-display 3": end } = scores.received;
      expect(all).toEqual(scores.sent);
      expect(scores.sent.length).toBeGreaterThan(4);
      expect(beginning).toEqual(scores.sent.slice(0, beginning.length));
      expect(end).toEqual(scores.sent.slice(-end.length));
      expect(beginning.length).toBeLessThan(scores.sent.length);
      expect(end.length).toBeLessThan(scores.sent.length);
      expect(added.received["add-patient-api"]).toEqual([
        { patientId: expect.any(String), replyQueue: expect.stringMatching(/^amq\.gen-/) },
      ]);
      expect(down.received.scheduling).toHaveLength(3);
      expect(repeated.received["add-patient-api"]).toMatchObject([
        { status: 503, code: "no_responder" },
        { status: 201 },
        { status: 201 },
      ]);

      expect(said(demo)).not.toContain("\u001B");
      expect(demo.lines[0]?.text).toMatch(/^Running the demo: /);
      await expect.poll(() => processesOf(folder)).toEqual([]);
      expect(readdirSync(folder)).toEqual(["report.json"]);
    },
  );

  test(
    "stops everything within 5 s at Ctrl-C, in the middle of the story",
    { timeout: 180_000 },
    async ({ broker, cleanup }) => {
      const folder = await privateTmp();
      const from = broker.source === "named" ? undefined : broker.source;
      const demo = cleanup(await startDemo(folder, [], { RABBITMQ_FROM: from }));
      await expect.poll(() => said(demo), { timeout: 120_000 }).toContain("display 1 shows");
      const running = processesOf(folder).length;
      expect(running).toBeGreaterThan(5);
      const exit = await demo.stop({ signal: "SIGINT" });
      expect(exit.code).toBe(0);
      expect(exit.ms).toBeLessThan(5_000);
      await expect.poll(() => processesOf(folder)).toEqual([]);
      expect(readdirSync(folder)).toEqual([]);
    },
  );

  test(
    "stops at once at a second Ctrl-C, and still leaves nothing behind",
    { timeout: 180_000 },
    async ({ broker, cleanup }) => {
      const folder = await privateTmp();
      const from = broker.source === "named" ? undefined : broker.source;
      const demo = cleanup(await startDemo(folder, [], { RABBITMQ_FROM: from }));
      await expect.poll(() => said(demo), { timeout: 120_000 }).toContain("patient-registry is ready");
      // A service that stands still cannot stop in good order
      const frozen = processesOf(folder).find((path) =>
        readFileSync(`${path}/cmdline`, "utf8").includes("patient-registry"),
      );
      process.kill(Number(frozen?.replace("/proc/", "")), "SIGSTOP");
      demo.signal("SIGINT");
      await expect.poll(() => said(demo)).toContain("Once more stops at once.");
      // Closer together the two would be the terminal's and npm's copy of one
      await sleep(400);
      const exit = await demo.stop({ signal: "SIGINT" });
      // Without it the frozen one is waited for, 3.5 s from the first
      expect(exit.ms).toBeLessThan(2_500);
      await expect.poll(() => processesOf(folder)).toEqual([]);
      await expect.poll(() => readdirSync(folder)).toEqual([]);
    },
  );

  test(
    "leaves a broker alone that AMQP_URL names, and cuts the connections to it instead",
    { timeout: 300_000 },
    async ({ vhost, cleanup }) => {
      const folder = await privateTmp();
      const demo = cleanup(await startDemo(folder, ["--once"], { AMQP_URL: vhost.url }));
      const { code } = await demo.exited;
      expect({ code, said: said(demo) }).toMatchObject({ code: 0 });
      expect(said(demo)).toContain("this broker is yours and stays as it is (AMQP_URL)");
      expect(said(demo)).toContain("Every step held.");
    },
  );

  test(
    "ends with the reason and an exit code when a step does not hold",
    { timeout: 180_000 },
    async ({ vhost, cleanup }) => {
      const folder = await privateTmp();
      const file = join(folder, "report.json");
      // Somebody else takes messages out of reporting's queue
      const thief = cleanup(await connect(vhost.url, { system, service: "reporting" }));
      await thief.subscribe(patientAdded, () => undefined);
      const demo = cleanup(await startDemo(folder, ["--once", "--report", file], { AMQP_URL: vhost.url }));
      await expect.poll(() => said(demo), { timeout: 120_000 }).toContain("score-display 1 is ready");
      const { code } = await demo.exited;
      expect({ code, said: said(demo) }).toMatchObject({ code: 1 });
      const report = JSON.parse(await readFile(file, "utf8"));
      expect(report.ok).toBe(false);
      expect(report.steps.at(-1)).toMatchObject({ ok: false, reason: expect.stringContaining("reporting counts") });
      expect(said(demo)).toContain("This did not hold: reporting counts");
    },
  );

  test.for([
    { args: ["--onec"], says: "Usage: npm run demo -- [--once] [--report FILE]" },
    { args: ["--once", "--report", "missing/folder/report.json"], says: "The report cannot be written" },
  ])("says at once what is wrong with $args, before it starts anything", async ({ args, says }, { cleanup }) => {
    const demo = cleanup(await startDemo(await privateTmp(), args, {}));
    expect(await demo.exited).toMatchObject({ code: 2 });
    expect(said(demo)).toContain(says);
    expect(said(demo)).not.toContain("RabbitMQ in");
  });
});
