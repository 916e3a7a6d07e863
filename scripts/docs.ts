/**
 * Checks the documents: code under `<!-- file: PATH -->` is that file's, or under `<!-- file: PATH, from: TEXT -->`
 * the statement of it whose first line starts with TEXT; links lead somewhere, services are named as their folders, and
 * documents, mutants and tests agree (scripts/pitfalls.ts, scripts/pages.ts, scripts/mutant-faults.ts).
 * `npm run check` compares; `npm run docs` copies the code into the documents.
 */
import { existsSync, globSync, readFileSync, writeFileSync } from "node:fs";
import { basename, dirname, join } from "node:path";
import GithubSlugger from "github-slugger";
import { mutantFaults } from "./mutant-faults.ts";
import { pageFaults } from "./pages.ts";
import { pitfallFaults } from "./pitfalls.ts";

const isWriting = process.argv.includes("--write");
const documents = globSync("**/*.md", { exclude: ["**/node_modules/**"] });
const faults = documents.flatMap((document) => {
  const text = readFileSync(document, "utf8");
  const current = withCode(text);
  if (isWriting && current !== text) writeFileSync(document, current);
  const isStale = !isWriting && current !== text;
  return [
    ...(isStale ? [`${document}: shows other code than its file; run npm run docs`] : []),
    ...deadLinks(document, current),
  ];
});
faults.push(...pitfallFaults(), ...pageFaults(), ...mutantFaults(), ...misnamedServices());
faults.forEach((fault) => console.log(fault));
process.exitCode = faults.length === 0 ? 0 : 1;

/** A copied service that keeps its old name would consume the other's messages and use its database. */
function misnamedServices(): string[] {
  const readme = readFileSync("README.md", "utf8");
  return globSync("services/*/package.json").flatMap((file) => {
    const folder = dirname(file);
    const name = basename(folder);
    const isNamed = readFileSync(`${folder}/src/main.ts`, "utf8").includes(`const name = "${name}";`);
    const manifest: { name: string } = JSON.parse(readFileSync(file, "utf8"));
    return [
      ...(isNamed ? [] : [`${folder}/src/main.ts: must contain const name = "${name}", the name of its folder`]),
      ...(manifest.name === `@amqp-idioms/${name}` ? [] : [`${file}: must have the name @amqp-idioms/${name}`]),
      ...(readme.includes(`(${folder}/README.md)`) ? [] : [`README.md: has no link to ${folder}/README.md`]),
    ];
  });
}

function withCode(text: string): string {
  return text.replaceAll(/^<!-- file: (.+) -->\n```(\w+)\n[^]*?^```$/gm, (_, source: string, language: string) => {
    const [file = "", start] = source.split(", from: ");
    const code = readFileSync(file, "utf8").trimEnd();
    const shown = start === undefined ? code : statementIn(code, start);
    return `<!-- file: ${source} -->\n\`\`\`${language}\n${shown}\n\`\`\``;
  });
}

/** @returns the lines from the one that starts with `start` to the closing bracket at its indentation */
function statementIn(code: string, start: string): string {
  const lines = code.split("\n");
  const first = lines.findIndex((line) => line.trimStart().startsWith(start));
  const indent = /^ */.exec(lines[first] ?? "")?.[0] ?? "";
  const end = lines.findIndex((line, index) => index > first && new RegExp(`^${indent}[)\\]}]+[,;]*$`).test(line));
  if (first === -1 || end === -1) throw new Error(`No statement starts with "${start}"`);
  const statement = lines.slice(first, end + 1).map((line) => line.slice(indent.length));
  return statement.join("\n").replace(/,$/, "");
}

function deadLinks(document: string, text: string): string[] {
  const targets = [...proseOf(text).matchAll(/\]\(([^)\s]+)\)/g)].map(([, target = ""]) => target);
  return targets
    .filter((target) => !/^[a-z]+:/.test(target))
    .flatMap((target) => {
      const [path = "", anchor] = target.split("#");
      const file = path === "" ? document : join(dirname(document), path);
      if (!existsSync(file)) return [`${document}: links to ${target}, which does not exist`];
      const isThere = anchor === undefined || anchorsOf(readFileSync(file, "utf8")).has(anchor);
      return isThere ? [] : [`${document}: links to ${target}, but ${file} has no such heading`];
    });
}

/** The anchors that GitHub gives to the headings of a page. */
function anchorsOf(text: string): Set<string> {
  const slugger = new GithubSlugger();
  const headings = [...proseOf(text).matchAll(/^#+ (.+)$/gm)].map(([, heading = ""]) => heading);
  // The slugger expects the text that a reader sees: a link without its address
  return new Set(headings.map((heading) => slugger.slug(heading.replaceAll(/\[([^\]]*)\]\([^)]*\)/g, "$1"))));
}

/** A page without its code blocks, where a line that begins with "#" is no heading. */
function proseOf(text: string): string {
  return text.replaceAll(/^```[^]*?^```$/gm, "");
}
