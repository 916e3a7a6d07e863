/**
 * `npm test` runs types, unit tests and `test/servers`; `npm run test:all` (`--all`) runs `test/long`, too. One summary at the end.
 * Other arguments go to vitest and pick from all tests: `npm test -- notify`, `npm test -- services/reporting -t "never twice"`.
 */
import { globSync, readFileSync, rmSync } from "node:fs";
import { relative, resolve } from "node:path";
import { inspect } from "node:util";
import type { TestCase, TestModule } from "vitest/node";
import { createVitest, parseCLI } from "vitest/node";
import { runCommand } from "./run-command.ts";

interface Tally {
  passed: number;
  failed: string[];
  skipped: { name: string; needs: string }[];
  durations: { files: Duration[]; tests: Duration[] };
}

interface Duration {
  name: string;
  ms: number;
}

/** vitest's JSON report, as far as it is read here */
interface UnitReport {
  testResults: {
    name: string;
    status: string;
    assertionResults: { fullName: string; status: string }[];
  }[];
}

/** turbo's `--summarize`, as far as it is read here */
interface TurboSummary {
  tasks: { taskId: string; directory: string; cache: { status: string }; execution?: { exitCode: number } }[];
}

const root = process.cwd();
const tally: Tally = { passed: 0, failed: [], skipped: [], durations: { files: [], tests: [] } };
let interrupted = false;
const isAll = process.argv[2] === "--all";
const args = process.argv.slice(isAll ? 3 : 2);
const startedAt = performance.now();

if (args.length === 0) {
  await runCachedTasks();
}
if (!interrupted) {
  await runVitest(args);
}
printSummary();

/** Types and the tests that need no server: turbo runs those whose inputs have changed. */
async function runCachedTasks(): Promise<void> {
  console.log("\nTypes, and tests that need no server:");
  rmSync(".turbo/runs", { recursive: true, force: true });
  globSync("*/{reports,*/reports}/unit.json").forEach((report) => rmSync(report));
  const onSignal = (): void => {
    interrupted = true;
  };
  process.on("SIGINT", onSignal).on("SIGTERM", onSignal);
  const tasks = ["test:unit", "typecheck", "//#typecheck:scripts"] as const;
  const how = ["--continue", "--summarize", "--output-logs=errors-only", "--log-order=grouped"] as const;
  const { output } = await runCommand(["turbo", "run", ...tasks, ...how]);
  process.off("SIGINT", onSignal).off("SIGTERM", onSignal);
  const [summaryFile] = globSync(".turbo/runs/*.json");
  if (interrupted || summaryFile === undefined) {
    console.log(output);
    tally.failed.push("turbo run: did not come to its end (above)");
    return;
  }
  const summary: TurboSummary = JSON.parse(readFileSync(summaryFile, "utf8"));
  const failed = summary.tasks.filter((task) => task.execution?.exitCode !== 0);
  if (failed.length > 0) {
    console.log(output);
  }
  summary.tasks.filter((task) => task.taskId.endsWith("#test:unit")).forEach((task) => countUnitTests(task.directory));
  for (const task of failed) {
    const isCounted = tally.failed.some(
      (name) => task.taskId.endsWith("#test:unit") && name.startsWith(task.directory),
    );
    if (!isCounted) tally.failed.push(`${task.directory || "scripts"} › ${task.taskId}`);
  }
  const cached = summary.tasks.filter((task) => task.cache.status === "HIT").length;
  console.log(`  ${summary.tasks.length} tasks, ${cached} of them from the cache: ${counts()}`);
}

function countUnitTests(directory: string): void {
  const [file] = globSync(`${directory}/reports/unit.json`);
  const report: UnitReport = file === undefined ? { testResults: [] } : JSON.parse(readFileSync(file, "utf8"));
  for (const { name, status, assertionResults } of report.testResults) {
    // As the cache keeps it, a report may come from another folder
    const path = name.slice(name.lastIndexOf(`${directory}/`));
    for (const test of assertionResults) {
      if (test.status === "passed") tally.passed += 1;
      else if (test.status === "failed") tally.failed.push(`${path} › ${test.fullName}`);
      else tally.skipped.push({ name: `${path} › ${test.fullName}`, needs: "no reason given" });
    }
    if (status === "failed" && assertionResults.every((test) => test.status !== "failed")) {
      tally.failed.push(`${path} › (the file itself)`);
    }
  }
}

/** In this process, because vitest's own command leaves its global teardown out when it is interrupted. */
async function runVitest(vitestArgs: string[]): Promise<void> {
  const { filter, options } = parseCLI(["vitest", "run", ...vitestArgs]);
  const files = globSync(
    "{packages/*,services/*,deploy/*,demo,bench,chaos,interop,scripts}/test/**/*.{test,test-d}.ts",
  );
  const isPicked = (file: string): boolean => filter.length === 0 || filter.some((text) => file.includes(text));
  const picked = files.filter(vitestArgs.length === 0 ? isInTier : isPicked);
  if (picked.length === 0) {
    tally.failed.push(`No test file has ${filter.map((text) => `"${text}"`).join(" or ")} in its path.`);
    return;
  }
  console.log("\nTests with real servers and processes, always run:");
  const vitest = await createVitest({ ...options, watch: false });
  process.removeAllListeners("SIGINT").removeAllListeners("SIGTERM");
  const onSignal = (): void => {
    if (interrupted) process.exit(130);
    interrupted = true;
    console.log(
      "\nStopping: the tests that are running come to their end, servers are stopped. Once more stops at once.",
    );
    running(vitest.state.getTestModules()).forEach((name) => console.log(`  Running: ${name}`));
    void vitest.cancelCurrentRun("keyboard-input");
  };
  process.on("SIGINT", onSignal).on("SIGTERM", onSignal);
  try {
    const { testModules, unhandledErrors } = await vitest.start(picked.map((file) => resolve(file)));
    testModules.forEach((module) => countModule(module, options.testNamePattern !== undefined));
    if (options.testNamePattern !== undefined && tally.passed + tally.failed.length === 0) {
      tally.failed.push(`No test in the files that were picked has "${options.testNamePattern}" in its name.`);
    }
    unhandledErrors
      .filter((error) => !isLeftByFailure(error, testModules))
      .forEach((error) => tally.failed.push(`outside of any test: ${messageOf(error)}`));
  } finally {
    await vitest.close();
    process.off("SIGINT", onSignal).off("SIGTERM", onSignal);
  }
}

/** The folder decides; turbo has run the unit tests. */
function isInTier(file: string): boolean {
  return !file.includes("/test/unit/") && (isAll || !file.includes("/test/long/"));
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

/** vitest hands on an error of another process as a bare object. */
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
  tally.durations.files.push({ name: relative(root, module.moduleId), ms });
  for (const test of module.children.allTests()) {
    const result = test.result();
    if (result.state === "passed") tally.passed += 1;
    tally.durations.tests.push({ name: nameOf(test), ms: test.diagnostic()?.duration ?? 0 });
    if (result.state === "failed") tally.failed.push(nameOf(test));
    if (result.state === "skipped" && !isPicked) {
      tally.skipped.push({ name: nameOf(test), needs: result.note ?? "no reason given" });
    }
  }
  const own = [module, ...module.children.allSuites()].flatMap((part) => part.errors());
  if (own.length > 0) {
    tally.failed.push(`${relative(root, module.moduleId)} › (the file itself) ${own[0]?.message ?? ""}`);
  }
}

function printSummary(): void {
  const seconds = Math.round((performance.now() - startedAt) / 1000);
  console.log(`\nSummary, after ${seconds} s${interrupted ? ", interrupted" : ""}`);
  for (const [needs, tests] of interrupted ? [] : Map.groupBy(tally.skipped, (test) => test.needs)) {
    console.log(`  Skipped: ${needs}`);
    tests.forEach((test) => console.log(`    ${test.name}`));
  }
  printSlowest("files", tally.durations.files);
  printSlowest("tests", tally.durations.tests);
  if (tally.failed.length > 0) {
    console.log("  Failed:");
    tally.failed.forEach((name) => console.log(`    ${name}`));
  }
  console.log(counts());
  const isGood = tally.failed.length === 0 && tally.passed > 0;
  process.exitCode = interrupted ? 130 : isGood ? 0 : 1;
}

function printSlowest(what: string, durations: Duration[]): void {
  const slowest = durations.toSorted((a, b) => b.ms - a.ms).slice(0, 10);
  if (slowest.length === 0) return;
  console.log(`  Slowest ${what}, in seconds:`);
  slowest.forEach(({ name, ms }) => console.log(`    ${(ms / 1000).toFixed(1).padStart(5)}  ${shortened(name)}`));
}

function shortened(text: string): string {
  return text.length > 130 ? `${text.slice(0, 129)}…` : text;
}

function counts(): string {
  const skipped = tally.skipped.length > 0 ? `, ${tally.skipped.length} skipped` : "";
  return `${tally.passed} passed, ${tally.failed.length} failed${skipped}`;
}
