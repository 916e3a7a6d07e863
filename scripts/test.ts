/**
 * `npm test` runs the type check, unit tests and `test/servers`; `npm run test:all` (`--all`) runs `test/long`, too. One summary at the end.
 * Other arguments go to vitest and pick from all tests: `npm test -- notify`, `npm test -- services/reporting -t "never twice"`.
 */
import { relative } from "node:path";
import { inspect } from "node:util";
import type { TestCase, TestModule } from "vitest/node";
import { createVitest, parseCLI } from "vitest/node";
import { checks } from "./checks.ts";
import { runCommand } from "./run-command.ts";

interface Tally {
  passed: number;
  failed: string[];
  skipped: { name: string; needs: string }[];
  files: Duration[];
  tests: Duration[];
}

interface Duration {
  name: string;
  ms: number;
}

const slowestShown = 10;
const root = process.cwd();
const tally: Tally = { passed: 0, failed: [], skipped: [], files: [], tests: [] };
let interrupted = false;
const isAll = process.argv[2] === "--all";
const args = process.argv.slice(isAll ? 3 : 2);
const startedAt = performance.now();

if (args.length === 0) await checkTypes();
if (!interrupted) await runVitest(args);
printSummary();

async function checkTypes(): Promise<void> {
  process.on("SIGINT", interrupt).on("SIGTERM", interrupt);
  const { exitCode, output } = await runCommand(checks.types);
  process.off("SIGINT", interrupt).off("SIGTERM", interrupt);
  console.log(`\nTypes: ${exitCode === 0 ? "no errors" : `errors\n${output}`}`);
  if (exitCode !== 0) tally.failed.push("types");
}

function interrupt(): void {
  interrupted = true;
}

/** Runs vitest in this process: vitest's own command skips its global teardown when it is interrupted. */
async function runVitest(vitestArgs: string[]): Promise<void> {
  const { filter, options } = parseCLI(["vitest", "run", ...vitestArgs]);
  const vitest = await createVitest({ ...options, watch: false });
  process.removeAllListeners("SIGINT").removeAllListeners("SIGTERM");
  const onSignal = (): void => {
    if (interrupted) process.exit(130);
    interrupted = true;
    console.log("\nStopping: waits for the running tests and stops the servers. A second signal exits immediately.");
    running(vitest.state.getTestModules()).forEach((name) => console.log(`  Running: ${name}`));
    void vitest.cancelCurrentRun("keyboard-input");
  };
  process.on("SIGINT", onSignal).on("SIGTERM", onSignal);
  try {
    const found = await vitest.globTestSpecifications(filter);
    const picked = found.filter(({ moduleId }) => isAll || vitestArgs.length > 0 || !moduleId.includes("/test/long/"));
    // vitest ignores a filter that picks nothing beside one that does: a moved file would silently not be tested
    const unused = filter.filter((text) => !picked.some(({ moduleId }) => moduleId.includes(text)));
    if (unused.length > 0) {
      tally.failed.push(...unused.map((text) => `No test file has "${text}" in its path.`));
      return;
    }
    const { testModules, unhandledErrors } = await vitest.start(picked.map(({ moduleId }) => moduleId));
    countResults(testModules, unhandledErrors, options.testNamePattern);
  } finally {
    await vitest.close();
    process.off("SIGINT", onSignal).off("SIGTERM", onSignal);
  }
}

function countResults(modules: TestModule[], unhandledErrors: unknown[], pattern: string | RegExp | undefined): void {
  modules.forEach((module) => countModule(module, pattern !== undefined));
  if (pattern !== undefined && tally.passed + tally.failed.length === 0) {
    tally.failed.push(`No test in the picked files has "${pattern}" in its name.`);
  }
  unhandledErrors
    .filter((error) => !isLeftByFailure(error, modules))
    .forEach((error) => tally.failed.push(`outside of any test: ${messageOf(error)}`));
}

/** An error from what a failed test left running: the failure is counted already. */
function isLeftByFailure(error: unknown, modules: TestModule[]): boolean {
  if (typeof error !== "object" || error === null) return false;
  const { VITEST_TEST_PATH: path, VITEST_TEST_NAME: name } = error as Record<string, unknown>;
  const module = modules.find(({ moduleId }) => moduleId === path);
  return [...(module?.children.allTests() ?? [])].some(
    (test) => test.name === name && test.result().state === "failed",
  );
}

/** vitest passes an error of another process on as a bare object. */
function messageOf(error: unknown): string {
  return typeof error === "object" && error !== null && "message" in error ? String(error.message) : inspect(error);
}

/** Each file that runs, with the first of its tests that has not ended. */
function running(modules: TestModule[]): string[] {
  return modules
    .filter((module) => module.state() === "pending")
    .map((module) => {
      const next = [...module.children.allTests()].find((test) => test.result().state === "pending");
      return next === undefined ? `${relative(root, module.moduleId)} › (its end)` : nameOf(next);
    });
}

function nameOf(test: TestCase): string {
  return `${relative(root, test.module.moduleId)} › ${test.fullName}`;
}

function countModule(module: TestModule, isPicked: boolean): void {
  const { duration, collectDuration, setupDuration, prepareDuration } = module.diagnostic();
  const ms = duration + collectDuration + setupDuration + prepareDuration;
  tally.files.push({ name: relative(root, module.moduleId), ms });
  for (const test of module.children.allTests()) {
    const result = test.result();
    if (result.state !== "skipped") tally.tests.push({ name: nameOf(test), ms: test.diagnostic()?.duration ?? 0 });
    if (result.state === "passed") tally.passed += 1;
    if (result.state === "failed") tally.failed.push(nameOf(test));
    if (result.state === "skipped" && !isPicked) {
      tally.skipped.push({ name: nameOf(test), needs: result.note ?? "no reason given" });
    }
  }
  const [error] = [module, ...module.children.allSuites()].flatMap((part) => part.errors());
  if (error !== undefined) tally.failed.push(`${relative(root, module.moduleId)} › (the file itself) ${error.message}`);
}

function printSummary(): void {
  const seconds = Math.round((performance.now() - startedAt) / 1000);
  console.log(`\nSummary, after ${seconds} s${interrupted ? ", interrupted" : ""}`);
  for (const [needs, tests] of interrupted ? [] : Map.groupBy(tally.skipped, (test) => test.needs)) {
    console.log(`  Skipped: ${needs}`);
    tests.forEach((test) => console.log(`    ${test.name}`));
  }
  printSlowest("files", tally.files);
  printSlowest("tests", tally.tests);
  if (tally.failed.length > 0) {
    console.log("  Failed:");
    tally.failed.forEach((name) => console.log(`    ${name}`));
  }
  const skipped = tally.skipped.length > 0 ? `, ${tally.skipped.length} skipped` : "";
  console.log(`${tally.passed} passed, ${tally.failed.length} failed${skipped}`);
  const isGreen = tally.failed.length === 0 && tally.passed > 0;
  process.exitCode = interrupted ? 130 : isGreen ? 0 : 1;
}

function printSlowest(what: string, durations: Duration[]): void {
  const slowest = durations.toSorted((a, b) => b.ms - a.ms).slice(0, slowestShown);
  if (slowest.length === 0) return;
  console.log(`  Slowest ${what}, in seconds:`);
  slowest.forEach(({ name, ms }) => console.log(`    ${(ms / 1000).toFixed(1).padStart(5)}  ${shortened(name)}`));
}

function shortened(text: string): string {
  return text.length > 130 ? `${text.slice(0, 129)}…` : text;
}
