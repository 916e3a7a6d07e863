/**
 * The kit's public declarations, as npm users get them, without comments: api/*.d.ts. A change of the public API is then a change of
 * these files, which a reviewer sees. `npm run check` compares them; `npm run api` writes them.
 */
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { build } from "tsdown";
import { options, publicEntries } from "./tsdown.config.ts";

const isWriting = process.argv.includes("--write");
const folder = mkdtempSync(join(tmpdir(), "amqp-kit-api-"));
try {
  for (const [name, source] of Object.entries(publicEntries)) {
    // One entry a build: several would share declarations in files of their own
    await build({
      ...options,
      config: false,
      entry: { [name]: source },
      dts: { emitDtsOnly: true },
      outDir: folder,
      clean: false,
      logLevel: "error",
    });
    const current = normalized(readFileSync(join(folder, `${name}.d.mts`), "utf8"));
    const file = `api/${name}.d.ts`;
    if (isWriting) {
      writeFileSync(file, current);
    } else if (!existsSync(file) || readFileSync(file, "utf8") !== current) {
      console.log(
        `packages/amqp-kit/${file}: the public API has changed. If it should, run npm run api and commit it.`,
      );
      process.exitCode = 1;
    }
  }
} finally {
  rmSync(folder, { recursive: true });
}

/** Without comments, and in the order of kinds and names, so that a declaration may move to another file. Overloads keep their order. */
function normalized(declarations: string): string {
  const code = declarations.replaceAll(/^ *(?:\/\*\*[^]*?\*\/|\/\/.*)\n/gm, "").trimEnd();
  const statements = code.split(/\n(?=[a-z])/).toSorted((a, b) => {
    const [first = "", second = ""] = [a, b].map((statement) => /^[\w ]+/.exec(statement)?.[0]);
    return first < second ? -1 : Number(first > second);
  });
  // One exported type a line
  return `${statements.join("\n")}\n`.replace(
    /(?<=^export type \{) .+ (?=\};$)/m,
    (names) => names.replaceAll(/ (?=\w)/g, "\n  ").trimEnd() + "\n",
  );
}
