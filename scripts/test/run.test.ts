import type { ChildProcess } from "node:child_process";
import { spawn } from "node:child_process";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, onTestFinished, test } from "vitest";

const root = join(import.meta.dirname, "../..");
const upAs = /^up (?<pid>\d+) (?<version>\S+)$/m;

/** Starts `scripts/run.mjs` with a process that waits for a signal, in a process group of its own, as a terminal does. */
async function start(
  command: readonly [string, ...string[]],
): Promise<{ child: ChildProcess; pid: number; output: () => string; ended: Promise<number | string> }> {
  const [program, ...args] = command;
  const child = spawn(program, args, { cwd: root, detached: true, stdio: ["ignore", "pipe", "pipe"] });
  let output = "";
  child.stdout.setEncoding("utf8").on("data", (text: string) => (output += text));
  child.stderr.setEncoding("utf8").on("data", (text: string) => (output += text));
  const ended = new Promise<number | string>((resolve) =>
    child.once("close", (code, signal) => resolve(signal ?? code ?? "")),
  );
  await expect.poll(() => output).toMatch(upAs);
  const pid = Number(upAs.exec(output)?.groups?.["pid"]);
  onTestFinished(() => {
    if (isRunning(pid)) process.kill(pid, "SIGKILL");
  });
  return { child, pid, output: () => output, ended };
}

function isRunning(pid: number): boolean {
  try {
    return process.kill(pid, 0);
  } catch {
    return false;
  }
}

const direct = [process.execPath, "scripts/run.mjs", "scripts/test/processes/until-signal.ts"] as const;
const throughNpm = ["npm", "exec", "--call", `exec ${direct.join(" ")}`] as const;

describe("scripts/run.mjs", () => {
  test("prints what it runs, and runs the file on the project's own Node.js", async () => {
    const { child, output, ended } = await start(direct);
    const { version } = JSON.parse(readFileSync(join(root, "node_modules/node/package.json"), "utf8"));
    expect(output()).toMatch(/^Running scripts\/test\/processes\/until-signal\.ts\.\n/);
    expect(upAs.exec(output())?.groups?.["version"]).toBe(`v${version}`);
    child.kill("SIGTERM");
    expect(await ended).toBe(0);
  });

  test.for(["SIGINT", "SIGTERM"] as const)(
    "forwards %s and exits with the file's exit code (pitfall 102)",
    async (signal) => {
      const { child, pid, output, ended } = await start([...direct, "7"]);
      child.kill(signal);
      expect(await ended).toBe(7);
      expect(output().match(/^got .*$/gm)).toEqual([`got ${signal}`]);
      expect(isRunning(pid)).toBe(false);
    },
  );

  test("forwards a signal that only npm received", async () => {
    const { child, pid, output, ended } = await start(throughNpm);
    child.kill("SIGTERM");
    expect(await ended).toBe(0);
    expect(output().match(/^got .*$/gm)).toEqual(["got SIGTERM"]);
    expect(isRunning(pid)).toBe(false);
  });

  test("treats the terminal's Ctrl-C and npm's copy of it as one (pitfall 103)", async () => {
    const { child, output, ended } = await start(throughNpm);
    process.kill(-Number(child.pid), "SIGINT");
    expect(await ended).toBe(0);
    expect(output().match(/^got .*$/gm)).toEqual(["got SIGINT"]);
  });

  test("reports the signal that ended the file", async () => {
    const { pid, output, ended } = await start(direct);
    process.kill(pid, "SIGKILL");
    expect(await ended).toBe(128 + 9);
    expect(output()).toContain("until-signal.ts was ended by SIGKILL.");
  });
});
