import { startProcess } from "@amqp-idioms/local-servers";
import { fileURLToPath } from "node:url";
import { expect, onTestFinished, test } from "vitest";

const root = fileURLToPath(new URL("../../../", import.meta.url));

test.for([
  { args: ["--help"], code: 0, says: "Usage: npm run demo -- [--once] [--report FILE]" },
  { args: ["--onec"], code: 2, says: "Unknown option '--onec'" },
  { args: ["--once", "--report", "missing/folder/report.json"], code: 2, says: "Cannot write the report" },
])("npm run demo -- $args exits with $code and a message, and starts nothing", async ({ args, code, says }) => {
  const command = process.execPath;
  const options = { args: ["scripts/run.mjs", "demo/src/main.ts", ...args], cwd: root, waitForReady: false };
  const demo = await startProcess({ name: "demo", command, ...options });
  onTestFinished(() => demo.close());
  expect(await demo.exited).toMatchObject({ code });
  const output = demo.lines.map(({ text }) => text).join("\n");
  expect(output).toContain(says);
  expect(output).not.toContain("RabbitMQ in");
});
