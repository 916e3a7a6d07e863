/**
 * Compares docs/pitfalls.md with the tests, in both directions. The page has each pitfall once; each test that it names under a pitfall
 * exists and ends in the pitfall's number, `… (pitfall 18)`; each test with such a number is named under that pitfall.
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
  const named = new Set(pitfalls.flatMap(({ number, text }) => testsNamedIn(text).map((test) => `${number} ${test}`)));
  const marked = new Set(globSync(tests).flatMap(testsMarkedIn));
  return [
    ...expected
      .map((number) => [number, pitfalls.filter((pitfall) => pitfall.number === number).length] as const)
      .filter(([, count]) => count !== 1)
      .map(([number, count]) => `${page}: has pitfall ${number} ${count} times instead of once`),
    ...pitfalls
      .filter(({ number }) => !expected.includes(number))
      .map(({ number }) => `${page}: has pitfall ${number}, which scripts/pitfalls.ts does not know`),
    ...pitfalls
      .filter(({ text }) => testsNamedIn(text).length === 0 && !/^\*\*Check\.\*\* .*\]\(/m.test(text))
      .map(({ number }) => `${page}: pitfall ${number} names neither a test nor a check with a link`),
    ...[...named]
      .filter((test) => !marked.has(test))
      .map((test) => `${page}: no test has this title and number: ${test}`),
    ...[...marked]
      .filter((test) => !named.has(test))
      .map((test) => `${page}: this test is not named under that pitfall: ${test}`),
  ];
}

/** One heading per pitfall: `### 12a. What you see`. */
function pitfallsOf(text: string): Pitfall[] {
  return text
    .split(/^#{2,3} /m)
    .map((part) => ({ number: /^(\d+[a-z]?)\. /.exec(part)?.[1] ?? "", text: part }))
    .filter(({ number }) => number !== "");
}

/** One line per test: `- [file](../path) › title`. The title is that of the source, without its number. */
function testsNamedIn(text: string): string[] {
  return [...text.matchAll(/^- \[[^\]]+\]\(\.\.\/([^)]+)\) › (.+)$/gm)].map(([, file, title]) => `${file} › ${title}`);
}

function testsMarkedIn(file: string): string[] {
  const marked = readFileSync(file, "utf8").matchAll(/(["'`])((?:\\.|(?!\1).)*) \(pitfalls? ([\da-z, ]+)\)\1/g);
  return [...marked].flatMap(([, , title = "", numbers = ""]) =>
    numbers.split(", ").map((number) => `${number} ${file} › ${title.replaceAll(/\\(.)/g, "$1")}`),
  );
}
