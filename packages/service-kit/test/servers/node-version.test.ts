import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { startProcess } from "@amqp-idioms/local-servers";
import { expect, onTestFinished, test } from "vitest";

const check = fileURLToPath(new URL("../../node-version.mjs", import.meta.url));

/** Starts Node.js so that it reports another version. */
async function start(version: string) {
  const folder = await mkdtemp(join(tmpdir(), "node-version-"));
  onTestFinished(() => rm(folder, { recursive: true, force: true }));
  const pretend = join(folder, "pretend.mjs");
  await writeFile(pretend, `Object.defineProperty(process.versions, "node", { value: "${version}" });`);
  const args = ["--import", pretend, "--import", check, "--eval", "console.log('it runs')"];
  return startProcess({ command: process.execPath, args });
}

test("a Node.js that is too old prints one sentence and stops", async () => {
  await using old = await start("24.21.0");
  expect(await old.exited).toMatchObject({ code: 1 });
  expect(old.lines[0]?.text).toMatch(/^This needs Node\.js 26 or newer, and this is v/);
  expect(JSON.stringify(old.lines)).not.toContain("it runs");
});

test("the oldest supported Node.js and a newer one run", async () => {
  for (const version of ["26.0.0", "28.1.0"]) {
    await using node = await start(version);
    expect(await node.exited).toMatchObject({ code: 0 });
  }
});
