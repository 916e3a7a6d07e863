import { execFile } from "node:child_process";
import { copyFileSync, globSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { tmpdir } from "node:os";
import { delimiter, dirname, join } from "node:path";
import { promisify } from "node:util";
import { afterAll, beforeAll, describe, expect } from "vitest";
import { test } from "@amqp-idioms/local-servers/vitest";

const kit = join(import.meta.dirname, "../..");
const tools = join(kit, "node_modules/.bin");
/** README's, and what each says */
const examples = {
  "broadcast.ts": "lamp: 1999 cents\n",
  "notify.ts": "2 × lamp, message id of 36 characters\n",
  "request-response.ts": "{ cents: 1999 }\nsold out: sofa\n",
};
/** The major version to run the packed kit on, as CI does each night. The project's own by default. */
const nodeVersion = process.env["PACKED_NODE"];
let project: string;
let tarball: string;
let node = process.execPath;

const oldestNode = 22;

const execute = promisify(execFile);

/** Not synchronous: `fetch` would not see that the broker has closed an idle connection meanwhile, and use it. */
async function run(command: string, args: string[], env: NodeJS.ProcessEnv = {}): Promise<string> {
  const PATH = `${dirname(node)}${delimiter}${process.env["PATH"] ?? ""}`;
  try {
    const { stdout } = await execute(command, args, { cwd: project, env: { ...process.env, PATH, ...env } });
    return stdout;
  } catch (error) {
    throw new Error(
      `${command} ${args.join(" ")} failed:\n${error instanceof Error && "stdout" in error ? String(error.stdout) : ""}`,
      { cause: error },
    );
  }
}

async function install(...packages: string[]): Promise<void> {
  await run("npm", ["install", "--no-audit", "--no-fund", ...packages]);
}

/** An empty project outside of this repository, with the packed kit installed by npm as anybody would. */
beforeAll(async () => {
  project = mkdtempSync(join(tmpdir(), "amqp-kit-packed-"));
  await execute("pnpm", ["pack", "--pack-destination", project], { cwd: kit });
  const [packed] = globSync("*.tgz", { cwd: project });
  tarball = join(project, packed ?? "");
  writeFileSync(join(project, "package.json"), JSON.stringify({ name: "shop", private: true, type: "module" }));
  const { version } = createRequire(import.meta.url)("zod/package.json");
  await install(tarball, `zod@${version}`, `@types/node@${nodeVersion ?? oldestNode}`, "typescript@7");
  if (nodeVersion !== undefined) {
    await install(`node@${nodeVersion}`);
    node = join(project, "node_modules/node/bin/node");
  }
  copyFileSync(join(kit, "test/packed/shop.ts"), join(project, "shop.ts"));
  for (const name of Object.keys(examples)) copyFileSync(join(kit, "examples", name), join(project, name));
});
afterAll(() => rmSync(project, { recursive: true, force: true }));

describe("the packed kit, installed in an empty project", () => {
  test("runs on the project's Node.js, or on the one that PACKED_NODE names", async () => {
    expect(await run("node", ["--version"])).toContain(`v${nodeVersion ?? process.versions.node}`);
  });

  test("has exports, types and files that publint and are-the-types-wrong find nothing against", async () => {
    expect(await run(join(tools, "publint"), [tarball, "--strict"])).toContain("All good!");
    // It ends with 1 when it finds anything that the profile does not ignore
    const found = await run(join(tools, "attw"), [tarball, "--profile", "esm-only", "--format", "ascii"]);
    expect(found.match(/^(node16 \(from ESM\)|bundler): 🟢/gm)).toHaveLength(6);
  });

  test("holds what is built, and neither sources nor tests", () => {
    const files = globSync("**/*.*", { cwd: join(project, "node_modules/amqp-kit") });
    expect(files.filter((file) => !/^(dist\/.*\.m?[jt]s(\.map)?|package\.json|README\.md)$/.test(file))).toEqual([]);
    expect(files).toContain("dist/index.mjs");
  });

  test("compiles a strict TypeScript program and README's examples, its libraries' declarations checked too", async () => {
    const compilerOptions = {
      strict: true,
      noUncheckedIndexedAccess: true,
      exactOptionalPropertyTypes: true,
      verbatimModuleSyntax: true,
      skipLibCheck: false,
      module: "nodenext",
      target: "es2024",
      lib: ["es2024", "esnext.disposable"],
      types: ["node"],
      noEmit: true,
    };
    writeFileSync(join(project, "tsconfig.json"), JSON.stringify({ compilerOptions, include: ["*.ts"] }));
    expect(await run("node_modules/.bin/tsc", ["-p", "."])).toBe("");
  });

  test("runs all six verbs against a broker", async ({ vhost }) => {
    const output = await run(node, ["shop.ts"], { AMQP_URL: vhost.url });
    expect(output).toBe("heard 1999\nordered 2\nquoted 1999\nsold out sofa\n");
  });

  test.for(Object.entries(examples))("runs README's example %s", async ([name, said], { vhost, skip }) => {
    skip(nodeVersion === "22", "needs Node.js 24: the examples have `await using`");
    expect(await run(node, [name], { AMQP_URL: vhost.url })).toMatch(said);
  });

  test("runs all six verbs from README's two minified ESM bundles, where errors keep their names", async ({
    vhost,
  }) => {
    await install("esbuild@0");
    writeFileSync(
      join(project, "bundled.ts"),
      'import "./shop.ts";\nimport { Reject } from "amqp-kit";\nconsole.log(new Reject("").name);\n',
    );
    const readme = readFileSync(join(kit, "README.md"), "utf8").replaceAll("\\\n", " ");
    const commands = readme.match(/(?<=^ {4}npx )esbuild .*$/gm) ?? [];
    expect(commands).toHaveLength(2);
    for (const command of commands) {
      await run("sh", ["-c", `npx ${command.replace("src/main.ts", "bundled.ts --minify")}`]);
      const output = await run(node, ["main.mjs"], { AMQP_URL: vhost.url });
      expect(output).toBe("heard 1999\nordered 2\nquoted 1999\nsold out sofa\nReject\n");
    }
  });

  test("handles dead letters: npx amqp-kit, with a system in TypeScript that package.json names", async ({ vhost }) => {
    const system = `
      import { defineSystem, notification } from "amqp-kit/contract";
      import { z } from "zod";
      const orderPlaced = notification("order_placed", { message: z.object({ pieces: z.int() }) });
      export const shop: object = defineSystem({ shop: { notifies: [orderPlaced] }, warehouse: { subscribes: [orderPlaced] } });
    `;
    writeFileSync(join(project, "system.ts"), system);
    const manifest = JSON.parse(readFileSync(join(project, "package.json"), "utf8"));
    writeFileSync(join(project, "package.json"), JSON.stringify({ ...manifest, "amqp-kit": { system: "system.ts" } }));
    const output = await run("npx", ["amqp-kit", "dead", "list"], { AMQP_URL: vhost.url });
    expect(output).toBe("order_placed.warehouse.dead: does not exist\n");
    expect(await run("npx", ["amqp-kit", "dead", "policy", "--json"])).toContain("order_placed\\\\.warehouse");
  });

  test("imports contracts and derives permissions from them without amqplib", async () => {
    rmSync(join(project, "node_modules/amqplib"), { recursive: true });
    const script = `
      import { broadcast, defineSystem } from "amqp-kit/contract";
      import { permissionsOf } from "amqp-kit/derive";
      import { z } from "zod";
      const prices = broadcast("prices", { message: z.string() });
      console.log(permissionsOf(defineSystem({ market: { broadcasts: [prices] } })).market.write);
    `;
    expect(await run(node, ["--input-type=module", "--eval", script])).toBe("^prices$\n");
  });
});
