/**
 * Shows that tests of docs/pitfalls.md fail without the measure that they are about: removes one measure of the kit at a time by patching
 * its source as vitest loads it, and expects the named tests to fail with the patch and to pass without it. Changes no file.
 */
import { join, resolve } from "node:path";
import type { TestCase } from "vitest/node";
import { createVitest } from "vitest/node";
import { type Mutant, mutants } from "./kit-mutants.ts";
import { mutantFaults } from "./mutant-faults.ts";
import { patch } from "./patch.ts";

const kit = resolve("packages/amqp-kit");
/** The limit of the whole run: without a measure, something may wait for ever. */
const limitMs = 5 * 60_000;

/** One project of vitest: tests of one file, with one mutant or with none. */
interface Run {
  name: string;
  mutant: Mutant | undefined;
  file: string;
  tests: string[];
}

const faults = mutantFaults();
if (faults.length > 0) {
  faults.forEach((fault) => console.log(`FAILED  ${fault}`));
  console.log(`0 passed, ${faults.length} failed`);
  process.exit(1);
}
const changed = mutants.map((mutant): Run => ({
  name: `without ${mutant.without}`,
  mutant,
  file: mutant.fails.in,
  tests: mutant.fails.tests,
}));
const unchanged = [...Map.groupBy(mutants, ({ fails }) => fails.in)].map(([file, group]): Run => {
  const tests = [...new Set(group.flatMap(({ fails }) => fails.tests))];
  return { name: `as it is, ${file}`, mutant: undefined, file, tests };
});
const runs = [...changed, ...unchanged];

let passed = 0;
let failed = 0;
const finished = new Set<string>();
const tooLate = setTimeout(() => {
  const missing = runs.filter(({ name }) => !finished.has(name)).map(({ name }) => name);
  console.log(`FAILED  did not end: ${missing.join("; ")}\n${passed} passed, ${failed + 1} failed`);
  process.exit(1);
}, limitMs);
const vitest = await createVitest(
  {
    config: false,
    watch: false,
    fsModuleCache: false,
    reporters: [{ onTestCaseResult: onResult, onTestModuleEnd: ({ project }) => void finished.add(project.name) }],
  },
  {
    test: {
      projects: runs.map(({ name, mutant }) => ({
        extends: join(kit, "vitest.config.ts"),
        root: kit,
        plugins: mutant === undefined ? [] : [patching(mutant)],
        test: {
          name,
          maxWorkers: 4,
          // A test that fails mostly waits for something that does not come
          testTimeout: 20_000,
          expect: { poll: { timeout: 8_000 } },
          // With the cache, the next test run would load the patched sources
          fsModuleCache: false,
        },
      })),
    },
  },
);
const specifications = runs.map(({ name, file, tests }) => {
  const project = vitest.projects.find((one) => one.name === name);
  if (project === undefined) throw new Error(`vitest has no project "${name}".`);
  const titles = tests.map((test) => test.replaceAll(/[.*+?^${}()|[\]\\]/g, "\\$&")).join("|");
  return project.createSpecification(join(kit, "test", file), {
    testNamePattern: new RegExp(`(${titles})( \\(pitfalls? [^)]*\\))?$`),
  });
});
await vitest.runTestSpecifications(specifications);
await vitest.close();
clearTimeout(tooLate);
const expected = runs.flatMap(({ tests }) => tests).length;
if (passed + failed !== expected) {
  console.log(`FAILED  ${expected} tests are named, ${passed + failed} were run`);
  failed += 1;
}
console.log(`${passed} passed, ${failed} failed`);
process.exitCode = failed === 0 ? 0 : 1;

function patching({ file, symbol, find, replace }: Mutant) {
  return {
    name: "remove a measure",
    enforce: "pre" as const,
    transform: (code: string, id: string) =>
      id === join(kit, "src", file) ? patch(code, symbol, find, replace) : undefined,
  };
}

function onResult(test: TestCase): void {
  const { state, errors = [] } = test.result();
  if (state === "skipped") return;
  const isChanged = changed.some(({ name }) => name === test.project.name);
  const isExpected = state === (isChanged ? "failed" : "passed");
  const why = isChanged && isExpected ? `\n          ${errors[0]?.message.split("\n")[0] ?? ""}` : "";
  console.log(`${isExpected ? "passed" : "FAILED"}  ${test.project.name}: ${state}\n          ${test.name}${why}`);
  if (isExpected) {
    passed += 1;
  } else {
    failed += 1;
    errors.forEach(({ stack, message }) => console.log(`\n${stack ?? message}\n`));
  }
}
