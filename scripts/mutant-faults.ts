/** Checks scripts/kit-mutants.ts against the sources and tests of the kit. */
import { existsSync, readFileSync } from "node:fs";
import { type Mutant, mutants } from "./kit-mutants.ts";
import { patch } from "./patch.ts";

const kit = "packages/amqp-kit";

/** @returns a sentence for each mutant whose symbol, text or test was renamed or moved */
export function mutantFaults(): string[] {
  return mutants.flatMap((mutant) =>
    [...sourceFaults(mutant), ...testFaults(mutant)].map(
      (fault) => `scripts/kit-mutants.ts: without ${mutant.without}: ${fault}`,
    ),
  );
}

function sourceFaults({ file, symbol, find, replace }: Mutant): string[] {
  const path = `${kit}/src/${file}`;
  if (!existsSync(path)) return [`${path} does not exist`];
  try {
    patch(readFileSync(path, "utf8"), symbol, find, replace);
    return [];
  } catch (error) {
    return [`${path}: ${error instanceof Error ? error.message : String(error)}`];
  }
}

function testFaults({ fails }: Mutant): string[] {
  const path = `${kit}/test/${fails.in}`;
  if (!existsSync(path)) return [`${path} does not exist`];
  const titles = [...titlesIn(path)].map(patternOf);
  return fails.tests
    .filter((wanted) => !titles.some((title) => title.test(wanted)))
    .map((wanted) => `${path} has no test "${wanted}"`);
}

/** All strings in a test file, without the pitfalls' numbers. */
function titlesIn(file: string): Set<string> {
  const texts = readFileSync(file, "utf8").matchAll(/(["'`])((?:\\.|(?!\1)[^\n])*)\1/g);
  return new Set(
    [...texts].map(([, , text = ""]) => text.replaceAll(/\\(.)/g, "$1").replace(/ \(pitfalls? [\da-z, ]+\)$/, "")),
  );
}

/** `test.for` fills `$what` and `%s` in. */
function patternOf(title: string): RegExp {
  const fixed = title.split(/\$\w+|%s/).map((part) => part.replaceAll(/[.*+?^${}()|[\]\\]/g, "\\$&"));
  return new RegExp(`^${fixed.join(".+")}$`);
}
