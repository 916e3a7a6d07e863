import { globSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";

const interop = join(import.meta.dirname, "../..");
const read = (file: string): string => readFileSync(join(interop, file), "utf8");
const pages = globSync("*.md", { cwd: interop }).map(read).join("\n");
const shown = new Map(
  [...pages.matchAll(/^<!-- file: interop\/(.+) -->\n```\w+\n([^]*?)^```$/gm)].map(([, file = "", code]) => [
    file,
    code,
  ]),
);

test.for(globSync(["python/*.py", "src/*.ts"], { cwd: interop }))("A page shows %s unchanged", (file) => {
  expect(shown.get(file)).toBe(read(file));
});

test("Every code block on a page names its file", () => {
  expect(pages.match(/^```(python|ts)$/gm)).toHaveLength(shown.size);
});

test.for(globSync("python/*_*.py", { cwd: interop }))("%s has at most 40 lines", (file) => {
  expect(read(file).split("\n").length).toBeLessThanOrEqual(41);
});
