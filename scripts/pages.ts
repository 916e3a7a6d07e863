/** Compares docs/when-things-go-wrong.md with the tests, and docs/operations.md with the log lines of the kit. */
import { existsSync, globSync, readFileSync } from "node:fs";

const failures = "docs/when-things-go-wrong.md";
const operations = "docs/operations.md";

/** @returns a sentence for each fault */
export function pageFaults(): string[] {
  return [failures, operations]
    .flatMap((page) => (existsSync(page) ? [] : [`${page} does not exist`]))
    .concat(headingsWithoutTest(), missingTests(), unexplainedLogLines());
}

function headingsWithoutTest(): string[] {
  return readFileSync(failures, "utf8")
    .split(/^## /m)
    .slice(1)
    .filter((part) => testsIn(part).length === 0)
    .map((part) => `${failures}: names no test under "${part.split("\n")[0]}"`);
}

function missingTests(): string[] {
  return testsIn(readFileSync(failures, "utf8"))
    .filter(({ file, title }) => !existsSync(file) || !titlesIn(file).has(title))
    .map(({ file, title }) => `${failures}: ${file} has no test "${title}"`);
}

/** A line per test: `- [file](../path) › title`. */
function testsIn(text: string): { file: string; title: string }[] {
  return [...text.matchAll(/^- \[[^\]]+\]\(\.\.\/([^)]+)\) › (.+)$/gm)].map(([, file = "", title = ""]) => ({
    file,
    title,
  }));
}

/** All strings in a test file, without the pitfalls' numbers. */
export function titlesIn(file: string): Set<string> {
  const texts = readFileSync(file, "utf8").matchAll(/(["'`])((?:\\.|(?!\1)[^\n])*)\1/g);
  return new Set(
    [...texts].map(([, , text = ""]) => text.replaceAll(/\\(.)/g, "$1").replace(/ \(pitfalls? [\da-z, ]+\)$/, "")),
  );
}

/** operations.md must contain the fixed parts, outside of `${…}`, of every text that the kit logs as a warning or an error. */
function unexplainedLogLines(): string[] {
  const page = readFileSync(operations, "utf8");
  return globSync("packages/amqp-kit/src/**/*.ts").flatMap((file) => {
    const calls = readFileSync(file, "utf8").matchAll(/[lL]ogger\.(?:warn|error)\(([^]*?)\);\n/g);
    return [...calls]
      .flatMap(([, call = ""]) => [...call.matchAll(/"[^"\n]{12,}"|`[^`\n]{12,}`/g)].map(([text]) => text.slice(1, -1)))
      .flatMap((text) =>
        text
          .split(/\$\{(?:[^{}]|\{[^{}]*\})*\}/)
          .map((part) => part.trim())
          .filter((part) => part.length > 8),
      )
      .filter((part) => !page.includes(part.replace(/[:;,]$/, "")))
      .map((part) => `${operations}: does not explain the log line of ${file}: ${part}`);
  });
}
