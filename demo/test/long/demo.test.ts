import { globSync, mkdtempSync, readdirSync, readFileSync, realpathSync, rmSync } from "node:fs";
import { chmod } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { scoreUpdates, system } from "@amqp-idioms/contracts";
import { type ServiceProcess, startProcess } from "@amqp-idioms/local-servers";
import { test } from "@amqp-idioms/local-servers/vitest";
import { connect } from "amqp-kit";
import { describe, expect, onTestFinished } from "vitest";

const root = fileURLToPath(new URL("../../../", import.meta.url));
const steps = [
  "Broadcast: live scores",
  "Request/response and notify: a patient is added",
  "Notify: scheduling is stopped for a while",
  "Request/response: patient-registry is stopped for a while",
  "All three idioms: the broker restarts under load",
];

const foreignUpdate = {
  match: "Foreign - Match",
  home: { team: "Foreign", score: 1 },
  away: { team: "Match", score: 0 },
  event: "Goal",
  at: "2026-01-01T12:00:00Z",
};

/** A temporary folder for this demo only: everything that it starts has it in its environment. */
async function privateTmp(): Promise<string> {
  const folder = realpathSync(mkdtempSync(join(tmpdir(), "demo-test-")));
  onTestFinished(() => rmSync(folder, { recursive: true, force: true }));
  // The broker runs as another user
  await chmod(folder, 0o755);
  return folder;
}

/** Starts the demo as `npm run demo` does. */
async function startDemo(
  folder: string,
  args: string[],
  env: Record<string, string | undefined>,
): Promise<ServiceProcess> {
  const command = process.execPath;
  const options = { args: ["scripts/run.mjs", "demo/src/main.ts", ...args], cwd: root, waitForReady: false };
  return startProcess({ name: "demo", command, ...options, env: { TMPDIR: folder, ...env } });
}

/** The source of the demo's own broker: the same kind as the one of this test run. */
function ownBroker({ source }: { source: string }): Record<string, string | undefined> {
  return { RABBITMQ_FROM: source === "named" ? undefined : source };
}

interface Report {
  ok: boolean;
  steps: { sent: unknown[]; received: Record<string, unknown[]> }[];
}

function readReport(file: string): Report {
  return JSON.parse(readFileSync(file, "utf8"));
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

function outputOf(demo: ServiceProcess): string {
  return demo.lines.map(({ text }) => text).join("\n");
}

/** The lines of the demo's output that README shows. */
function linesInReadme(): string[] {
  const readme = readFileSync(join(root, "README.md"), "utf8");
  const [, block = ""] = /Some lines of its output:\n\n((?: {4}.*\n)+)/.exec(readme) ?? [];
  return block.trim().split("\n");
}

/** Without ids and numbers, which differ from run to run. */
function masked(line: string): string {
  return line
    .trim()
    .replaceAll(/[\da-f]{8}(-[\da-f]{4}){3}-[\da-f]{12}/g, "ID")
    .replaceAll(/\d+/g, "N");
}

describe("npm run demo", () => {
  test(
    "runs every step as README shows, writes the report, keeps running until Ctrl-C, then stops everything within 5 s and leaves nothing behind",
    { timeout: 300_000 },
    async ({ broker, cleanup }) => {
      const folder = await privateTmp();
      const file = join(folder, "report.json");
      const demo = cleanup(await startDemo(folder, ["--report", file], ownBroker(broker)));
      await expect
        .poll(() => demo.isRunning && !outputOf(demo).includes("keeps running until Ctrl-C"), { timeout: 240_000 })
        .toBe(false);
      expect({ isRunning: demo.isRunning, output: outputOf(demo) }).toMatchObject({ isRunning: true });
      expectFullReport(readReport(file));
      expect(outputOf(demo)).not.toContain("\u001B");
      expect(demo.lines[0]?.text).toMatch(/^Running the demo: /);
      const printed = demo.lines.map(({ text }) => masked(text));
      const shown = linesInReadme().map(masked);
      expect(shown.length).toBeGreaterThan(10);
      expect(printed).toEqual(expect.arrayContaining(shown));

      expect(processesOf(folder).length).toBeGreaterThan(5);
      const exit = await demo.stop({ signal: "SIGINT" });
      expect(exit.code).toBe(0);
      expect(exit.ms).toBeLessThan(5_000);
      await expect.poll(() => processesOf(folder)).toEqual([]);
      expect(readdirSync(folder)).toEqual(["report.json"]);
    },
  );

  test(
    "stops everything within 5 s at Ctrl-C in the middle of a step",
    { timeout: 180_000 },
    async ({ vhost, database, cleanup }) => {
      const folder = await privateTmp();
      const demo = cleanup(await startDemo(folder, [], { AMQP_URL: vhost.url, DATABASE_URL: database.url }));
      await expect.poll(() => outputOf(demo), { timeout: 120_000 }).toContain("display 1 shows");
      const exit = await demo.stop({ signal: "SIGINT" });
      expect(exit.code).toBe(0);
      expect(exit.ms).toBeLessThan(5_000);
      await expect.poll(() => processesOf(folder)).toEqual([]);
      expect(readdirSync(folder)).toEqual([]);
    },
  );

  test(
    "stops immediately at a second Ctrl-C, and still leaves nothing behind",
    { timeout: 180_000 },
    async ({ broker, database, cleanup }) => {
      const folder = await privateTmp();
      const demo = cleanup(await startDemo(folder, [], { ...ownBroker(broker), DATABASE_URL: database.url }));
      await expect.poll(() => outputOf(demo), { timeout: 120_000 }).toContain("patient-registry is ready");
      // A frozen service cannot stop gracefully
      const frozen = processesOf(folder).find((path) =>
        readFileSync(`${path}/cmdline`, "utf8").includes("patient-registry"),
      );
      process.kill(Number(frozen?.replace("/proc/", "")), "SIGSTOP");
      demo.signal("SIGINT");
      await expect.poll(() => outputOf(demo)).toContain("Press Ctrl-C again to stop immediately.");
      // Within 200 ms, the second signal counts as npm's copy of the terminal's
      await sleep(400);
      const exit = await demo.stop({ signal: "SIGINT" });
      // Without the second signal, the demo waits 3.5 s for the frozen service
      expect(exit.ms).toBeLessThan(2_500);
      await expect.poll(() => processesOf(folder)).toEqual([]);
      await expect.poll(() => readdirSync(folder)).toEqual([]);
    },
  );

  test(
    "-- --once, with AMQP_URL, cuts the connections to that broker instead of restarting it, and exits with 0 after the last step",
    { timeout: 300_000 },
    async ({ vhost, database, cleanup }) => {
      const folder = await privateTmp();
      const demo = cleanup(await startDemo(folder, ["--once"], { AMQP_URL: vhost.url, DATABASE_URL: database.url }));
      const { code } = await demo.exited;
      expect({ code, output: outputOf(demo) }).toMatchObject({ code: 0 });
      expect(outputOf(demo)).toContain("AMQP_URL names your broker, so it is not restarted");
      expect(outputOf(demo)).toContain("All 5 steps passed.");
    },
  );

  test(
    "stops with the reason and exit code 1 when a step fails",
    { timeout: 180_000 },
    async ({ vhost, database, cleanup }) => {
      const folder = await privateTmp();
      const file = join(folder, "report.json");
      // Another producer sends updates that the demo's own producer did not send
      const intruder = cleanup(await connect(vhost.url, { system, service: "score-producer" }));
      const timer = setInterval(() => void intruder.broadcast(scoreUpdates, foreignUpdate), 200);
      cleanup(async () => clearInterval(timer));
      const env = { AMQP_URL: vhost.url, DATABASE_URL: database.url };
      const demo = cleanup(await startDemo(folder, ["--once", "--report", file], env));
      const { code } = await demo.exited;
      expect({ code, output: outputOf(demo) }).toMatchObject({ code: 1 });
      const report = readReport(file);
      expect(report.ok).toBe(false);
      expect(report.steps).toHaveLength(1);
      expect(report.steps[0]).toMatchObject({
        ok: false,
        reason: expect.stringContaining("display 1 listened all the time"),
      });
      expect(outputOf(demo)).toContain("Step 1 failed: display 1 listened all the time");
    },
  );
});

function expectFullReport(report: Report): void {
  expect(report).toMatchObject({
    ok: true,
    steps: steps.map((name) => ({ name, ok: true, ms: expect.any(Number) })),
  });
  const [scores, added, down, repeated] = report.steps;
  const sent = scores?.sent ?? [];
  const [all, beginning, end] = [1, 2, 3].map((display) => scores?.received[`score-display ${display}`] ?? []);
  expect(sent.length).toBeGreaterThan(4);
  expect(all).toEqual(sent);
  expect(beginning).toEqual(sent.slice(0, beginning?.length));
  expect(beginning?.length).toBeLessThan(sent.length);
  expect(end).toEqual(sent.slice(-(end?.length ?? 0)));
  expect(end?.length).toBeLessThan(sent.length);
  expect(added?.received["add-patient-api"]).toEqual([
    { patientId: expect.any(String), replyQueue: expect.stringMatching(/^amq\.gen-/) },
  ]);
  expect(down?.received["scheduling"]).toHaveLength(3);
  expect(repeated?.received["add-patient-api"]).toMatchObject([
    { status: 503, code: "no_responder" },
    { status: 201 },
    { status: 201 },
  ]);
}
