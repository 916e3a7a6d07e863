import { readFileSync } from "node:fs";
import { expect, test } from "vitest";

const read = (path: string): string => readFileSync(new URL(path, import.meta.url), "utf8");

test("docs/errors.md lists exactly the codes that every service may answer over HTTP, each with a remedy", () => {
  const [, page = ""] = read("../../../../docs/errors.md").split("| status, code |");
  const [table = ""] = page.split("\n\n");
  const rows = table
    .split("\n")
    .slice(2)
    .map((row) => row.split("|").map((cell) => cell.trim()));
  const sources = (read("../../src/problem.ts") + read("../../src/http-server.ts")).replaceAll(/^ \* .*$/gm, "");
  const answered = [...sources.matchAll(/(?:code: |problem\(\d+, )"([a-z_]+)"/g)].map(([, code]) => code);
  const documented = rows.map(([, first = ""]) => /^\d(?:\d\d|xx) `([a-z_]+)`$/.exec(first)?.[1]);
  expect(documented).toHaveLength(new Set(documented).size);
  expect(new Set(documented)).toEqual(new Set(answered));
  for (const [, , meaning = "", remedy = ""] of rows) {
    expect(meaning.length).toBeGreaterThan(20);
    expect(remedy.length).toBeGreaterThan(20);
  }
});
