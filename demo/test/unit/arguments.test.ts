import { startProcess } from "@amqp-idioms/local-servers";
import { fileURLToPath } from "node:url";
import { expect, onTestFinished, test } from "vitest";

const root = fileURLToPath(new URL("../../../", import.meta.url));

test.for([
  { args: ["--onec"], says: "Usage: npm run demo -- [--once] [--report FILE]" },
  { args: ["--once", "--report", "missing/folder/report.json"], says: "The report cannot be written" },
])("npm run demo -- $args exits with 2 and an error before it starts anything", async ({ args, says }) => {
  const command = process.execPath;
  const options = { args: ["scripts/run.mjs", "demo/src/main.ts", ...args], cwd: root, waitForReady: false };
  const demo = await startProcess({ name: "demo", command, ...options });
  onTestFinished(() => demo.close());
  expect(await demo.exited).toMatchObject({ code: 2 });
  const output = demo.lines.map(({ text }) => text).join("\n");
  expect(output).toContain(says);
  expect(output).not.toContain("RabbitMQ in");
});
