/**
 * Builds the content of an image: `node deploy/image/src/main.ts FOLDER OUT`, such as `services/scheduling /out`.
 * Writes the JavaScript of that workspace and of the packages that it imports with their folder structure, so that each file finds the
 * migrations and pages that it reads at run time. `pnpm install --prod` adds the npm packages.
 */
import { cpSync, globSync, writeFileSync } from "node:fs";
import { join, relative, resolve } from "node:path";
import { rolldown } from "rolldown";

const [folder = "", out = ""] = process.argv.slice(2);
if (out === "" || globSync(`${folder}/src/main.ts`).length === 0) {
  console.error("Usage: node deploy/image/src/main.ts FOLDER OUT, where FOLDER/src/main.ts is the program");
  process.exit(1);
}

const root = process.cwd();
const main = `${folder}/src/main.ts`;
// The image that creates the operator's user also has the operator's tool
const tools = folder === "deploy/setup" ? ["packages/amqp-kit/src/dead-letters/cli.ts"] : [];
const isOurs = (id: string): boolean => /^(@amqp-idioms\/|amqp-kit(\/|$)|\.|\/)/.test(id);
const bundle = await rolldown({
  input: [main, ...tools].map((program) => resolve(program)),
  platform: "node",
  tsconfig: false,
  external: (id) => !isOurs(id),
});
const { output } = await bundle.write({
  dir: out,
  format: "esm",
  preserveModules: true,
  preserveModulesRoot: root,
  entryFileNames: "[name].js",
});
await bundle.close();

const sources = output.flatMap((file) => (file.type === "chunk" ? file.moduleIds : []));
const packages = new Set(sources.map((source) => relative(root, source).split("/").slice(0, 2).join("/")));
const readAtRunTime = [...packages].map((name) => `${name}/{src,migrations}/**/*.{sql,html,css,js}`);
for (const file of globSync(readAtRunTime)) cpSync(file, join(out, file));
// The same file name in every image, because a command in exec form cannot use a build argument
writeFileSync(join(out, "main.js"), `import "./${folder}/src/main.js";\n`);
const manifest = { type: "module", "amqp-kit": { system: "packages/contracts/src/system.js" } };
writeFileSync(join(out, "package.json"), JSON.stringify(manifest));
