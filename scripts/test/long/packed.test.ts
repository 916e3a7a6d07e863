/** outbox and local-servers as npm users get them. The kit has its own test of this: packages/amqp-kit, packed.test.ts. */
import { execFile } from "node:child_process";
import { globSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { delimiter, join } from "node:path";
import { promisify } from "node:util";
import { describe, expect, test } from "vitest";

const root = join(import.meta.dirname, "../../..");
const tools = join(root, "packages/amqp-kit/node_modules/.bin");
const execute = promisify(execFile);

/** The major version to run on, as CI does each night. The project's own by default. */
const nodeVersion = process.env["PACKED_NODE"];

const packages = [
  {
    folder: "packages/outbox",
    program: `
      import { addToOutbox, openDatabase, startRelay } from "@amqp-idioms/outbox";
      const logger = { debug() {}, info() {}, warn() {} };
      const database = await openDatabase({ dataDir: "./data" }, { schema: "shop", logger });
      const sent = Promise.withResolvers();
      const relay = startRelay(database, { send: async ({ message }) => sent.resolve(message.pieces), logger });
      await database.transaction((tx) => addToOutbox(tx, { topic: "order", key: "1", message: { pieces: 2 } }));
      console.log("sent", await sent.promise);
      await relay.close();
      await database.close();
    `,
    output: "sent 2\n",
  },
  {
    folder: "packages/local-servers",
    program: `
      import { handshake, startRabbitMq } from "@amqp-idioms/local-servers";
      const broker = await startRabbitMq({ env: { RABBITMQ_FROM: process.env.RABBITMQ_FROM } });
      const { version } = await handshake(broker.url, 10_000);
      console.log(version === broker.version);
      await broker.close();
    `,
    output: "true\n",
  },
];

describe.for(packages)("the packed $folder", ({ folder, program, output }) => {
  // It installs from the registry: as slow as that is
  const timeout = 180_000;
  test(
    "is complete for publint and are-the-types-wrong, and runs in an empty project",
    { timeout },
    async ({ onTestFinished }) => {
      const project = mkdtempSync(join(tmpdir(), "packed-"));
      onTestFinished(() => rmSync(project, { recursive: true, force: true }));
      await execute("pnpm", ["pack", "--pack-destination", project], { cwd: join(root, folder) });
      const tarball = join(project, globSync("*.tgz", { cwd: project })[0] ?? "");
      const run = async (command: string, args: string[]): Promise<string> => {
        const PATH = [
          ...(nodeVersion === undefined ? [] : [join(project, "node_modules/node/bin")]),
          process.env["PATH"],
        ];
        const env = { ...process.env, PATH: PATH.join(delimiter) };
        return (await execute(command, args, { cwd: project, env })).stdout;
      };

      expect(await run(join(tools, "publint"), [tarball, "--strict"])).toContain("All good!");
      // It ends with 1 when it finds anything that the profile does not ignore
      expect(await run(join(tools, "attw"), [tarball, "--profile", "esm-only", "--format", "ascii"])).toContain("🟢");

      writeFileSync(join(project, "package.json"), JSON.stringify({ name: "shop", private: true, type: "module" }));
      writeFileSync(join(project, "main.js"), program);
      const node = nodeVersion === undefined ? [] : [`node@${nodeVersion}`];
      await execute("npm", ["install", "--no-audit", "--no-fund", tarball, ...node], { cwd: project });
      expect(await run("node", ["--version"])).toContain(`v${nodeVersion ?? process.versions.node}`);
      expect(await run("node", ["main.js"])).toBe(output);
    },
  );
});
