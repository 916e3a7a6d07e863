/**
 * Shows that every check fails where it must: plants the violations of a check in a copy of the repository, all at once, and expects the
 * check to report each of them, and to pass where nothing is planted. Several tools pass silently when they are set up wrongly.
 */
import { execFileSync } from "node:child_process";
import { cpSync, existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { checks } from "./checks.ts";
import { runCommand } from "./run-command.ts";
import { type Violation, violations } from "./violations.ts";

const commands = { ...checks, tests: ["vitest", "run", "packages/contracts/test/unit/", "--no-color"] } as const;
const copy = mkdtempSync(join(tmpdir(), "amqp-idioms-planted-"));
process.on("exit", () => rmSync(copy, { recursive: true, force: true }));
for (const signal of ["SIGINT", "SIGTERM"] as const) {
  process.once(signal, () => process.exit(130));
}

copyRepository();
let passed = 0;
let failed = 0;
const numbered = violations.map((violation, index) => renamed(violation, `planted${index + 1}`));
for (const [check, group] of Map.groupBy(numbered, (violation) => violation.fails)) {
  const clean = await runCommand(commands[check], { cwd: copy });
  report(`${check} passes where nothing is planted`, clean.exitCode === 0, clean.output);
  const restores = group.map(plantIn);
  const { exitCode, output } = await runCommand(commands[check], { cwd: copy });
  for (const violation of group) {
    const isReported = exitCode !== 0 && isFound(violation, output);
    report(`${check} reports ${violation.what}`, isReported, `exit code ${exitCode}, expected ${violation.because}`);
  }
  if (!group.every((violation) => isFound(violation, output))) console.log(`\n${output.trim()}\n`);
  restores.toReversed().forEach((restore) => restore());
}
console.log(`${passed} passed, ${failed} failed`);
process.exitCode = failed === 0 ? 0 : 1;

/** Copies all files that git knows or would add, and installs the copy's own dependencies: pnpm may change them as a manifest changes. */
function copyRepository(): void {
  const files = execFileSync("git", ["ls-files", "--cached", "--others", "--exclude-standard"], { encoding: "utf8" });
  for (const file of files.split("\n").filter((path) => path !== "" && existsSync(path))) {
    cpSync(file, join(copy, file));
  }
  execFileSync("pnpm", ["install", "--frozen-lockfile", "--prefer-offline", "--reporter=silent"], {
    cwd: copy,
    stdio: "inherit",
  });
}

function renamed({ because, plant, ...rest }: Violation, name: string): Violation {
  // Violations planted earlier in the same file already have their numbers
  const withName = (text: string): string => text.replaceAll(/planted(?!\d)/g, name);
  const edits = Object.entries(plant).map(
    ([path, edit]) => [withName(path), (text: string | null) => withName(edit(text))] as const,
  );
  return { ...rest, because: new RegExp(withName(because.source), because.flags), plant: Object.fromEntries(edits) };
}

function isFound({ fails, because, plant }: Violation, output: string): boolean {
  if (fails !== "lint") return because.test(output);
  const errors = output.split(/\n(?=\S*\s+[x×] )/);
  return errors.some((error) => because.test(error) && Object.keys(plant).some((path) => error.includes(`[${path}:`)));
}

/** @returns a function that restores the files */
function plantIn({ plant }: Violation): () => void {
  const before = Object.keys(plant).map((path): [string, string | null] => {
    const file = join(copy, path);
    return [file, existsSync(file) ? readFileSync(file, "utf8") : null];
  });
  for (const [path, edit] of Object.entries(plant)) {
    const file = join(copy, path);
    mkdirSync(dirname(file), { recursive: true });
    writeFileSync(file, edit(existsSync(file) ? readFileSync(file, "utf8") : null));
  }
  return () => before.forEach(([file, text]) => (text === null ? rmSync(file) : writeFileSync(file, text)));
}

function report(name: string, isGreen: boolean, output: string): void {
  console.log(`${isGreen ? "passed" : "FAILED"}  ${name}`);
  if (isGreen) {
    passed += 1;
  } else {
    failed += 1;
    console.log(`\n${output.trim()}\n`);
  }
}
