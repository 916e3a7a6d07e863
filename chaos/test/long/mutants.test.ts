import { globSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { basename, join } from "node:path";
import { fileURLToPath } from "node:url";
import { startProcess } from "@amqp-idioms/local-servers";
import { describe, expect, onTestFinished, test, type TestContext } from "vitest";
import type { Report } from "../../src/report.ts";
import { mutantNamed } from "../../src/mutant.ts";

const main = fileURLToPath(new URL("../../src/main.ts", import.meta.url));
/** The claim that each mutant must violate */
const violated: Readonly<Record<string, string>> = {
  "ack-before-work": "every patient",
  "begins-late": "no request is begun more than 100 ms after its time limit",
  "confirms-ignored": "every patient has exactly one appointment",
  "inbox-left-out": "every patient is counted exactly once in the reports",
  "no-outbox": "every patient has exactly one appointment",
};

const alwaysRun = "no-outbox";

function skipUnlessAll(skip: TestContext["skip"]): void {
  if (process.env["CHAOS_MUTANTS"] !== "all")
    skip("needs CHAOS_MUTANTS=all, because each mutant takes most of a minute");
}

async function chaos(...args: string[]): Promise<{ code: number | null; report: Report }> {
  const folder = mkdtempSync(join(tmpdir(), "chaos-test-"));
  onTestFinished(() => rmSync(folder, { recursive: true, force: true }));
  const file = join(folder, "report.json");
  const { RABBITMQ_FROM, POSTGRES_FROM } = process.env;
  const run = await startProcess({
    main,
    args: ["--minutes", "5", "--seed", "7", "--report", file, ...args],
    env: { RABBITMQ_FROM, POSTGRES_FROM },
    waitForReady: false,
  });
  onTestFinished(() => run.close());
  const { code } = await run.exited;
  const output = run.lines.map(({ text }) => text).join("\n");
  // vitest shows this when the test fails
  console.log(output);
  return { code, report: JSON.parse(readFileSync(file, "utf8")) };
}

describe("The ledger", { timeout: 300_000 }, () => {
  test("has a claim for each mutant", () => {
    const files = globSync(fileURLToPath(new URL("../../mutants/*.ts", import.meta.url)));
    expect(files.map((file) => basename(file, ".ts")).toSorted()).toEqual(Object.keys(violated));
  });

  test.for(Object.entries(violated))("shows that the mutant %s violates: %s", async ([name, claim], { skip }) => {
    if (name !== alwaysRun) skipUnlessAll(skip);
    const { code, report } = await chaos("--mutant", name);
    const claims = report.violations.map((violation) => violation.claim);
    expect(claims).toContainEqual(expect.stringContaining(claim));
    expect(code).toBe(1);
  });

  test("shows no violation under the same faults without a mutant", async ({ skip }) => {
    skipUnlessAll(skip);
    const mutants = await Promise.all(Object.keys(violated).map(mutantNamed));
    const { code, report } = await chaos("--once", "--faults", mutants.flatMap(({ faults }) => faults).join());
    expect(report.violations).toEqual([]);
    expect(code).toBe(0);
  });
});
