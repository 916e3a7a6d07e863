/**
 * Compares docs/pitfalls.md with the tests, in both directions. The page has each pitfall once; under it, the page links exactly those test
 * files that have a test with the pitfall's number at the end of its title, `… (pitfall 18)`.
 */
import { existsSync, globSync, readFileSync } from "node:fs";

const page = "docs/pitfalls.md";
const tests = "{packages/*,services/*,demo,bench,interop,scripts,chaos}/test/**/*.{test,test-d}.ts";

/** Pitfalls are numbered from 1. Later ones were inserted with a letter, so that no number ever changes its meaning. */
const lastNumber = 123;
const lettered = ["7a", "12a", "12b", "53a", "56a", "90a", "90b", "90c"];

interface Pitfall {
  number: string;
  text: string;
}

/** @returns a sentence for each fault */
export function pitfallFaults(): string[] {
  if (!existsSync(page)) return [`${page} does not exist`];
  const pitfalls = pitfallsOf(readFileSync(page, "utf8"));
  const numbers = Array.from({ length: lastNumber }, (_, index) => String(index + 1));
  const expected = [...numbers, ...lettered];
  const linked = new Set(
    pitfalls.flatMap(({ number, text }) => testsLinkedIn(text).map((file) => `${number}: ${file}`)),
  );
  const marked = new Set(globSync(tests).flatMap((file) => numbersIn(file).map((number) => `${number}: ${file}`)));
  return [
    ...expected
      .map((number) => [number, pitfalls.filter((pitfall) => pitfall.number === number).length] as const)
      .filter(([, count]) => count !== 1)
      .map(([number, count]) => `${page}: has pitfall ${number} ${count} times instead of once`),
    ...pitfalls
      .filter(({ number }) => !expected.includes(number))
      .map(({ number }) => `${page}: has pitfall ${number}, which scripts/pitfalls.ts does not know`),
    ...pitfalls
      .filter(({ text }) => testsLinkedIn(text).length === 0 && !/^\*\*Check\.\*\* .*\]\(/m.test(text))
      .map(({ number }) => `${page}: pitfall ${number} links neither a test nor a check`),
    ...[...linked]
      .filter((link) => !marked.has(link))
      .map((link) => `${page}: no test in this file has the pitfall's number: ${link}`),
    ...[...marked]
      .filter((mark) => !linked.has(mark))
      .map((mark) => `${page}: does not link this file under the pitfall that one of its tests is about: ${mark}`),
  ];
}

/** One heading per pitfall: `### 12a. What you see`. */
function pitfallsOf(text: string): Pitfall[] {
  return text
    .split(/^#{2,3} /m)
    .map((part) => ({ number: /^(\d+[a-z]?)\. /.exec(part)?.[1] ?? "", text: part }))
    .filter(({ number }) => number !== "");
}

/** One line per pitfall: `Tests: [name](../path), [name](../path)`. */
function testsLinkedIn(text: string): string[] {
  const line = /^Tests: .+$/m.exec(text)?.[0] ?? "";
  return [...line.matchAll(/\]\(\.\.\/([^)]+)\)/g)].map(([, file = ""]) => file);
}

function numbersIn(file: string): string[] {
  const marks = readFileSync(file, "utf8").matchAll(/ \(pitfalls? ([\da-z, ]+)\)["'`]/g);
  return [...marks].flatMap(([, numbers = ""]) => numbers.split(", "));
}
