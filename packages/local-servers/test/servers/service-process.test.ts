import { fileURLToPath } from "node:url";
import { setTimeout as sleep } from "node:timers/promises";
import { describe, expect, test } from "vitest";
import { startProcess } from "../../src/index.ts";

const main = fileURLToPath(new URL("processes/service.ts", import.meta.url));

describe("The process of a service", () => {
  test('has started when it logs "ready", and listens on the port of that line', async () => {
    await using service = await startProcess({ main });
    expect(service.lines.map(({ text, json }) => json?.["msg"] ?? text)).toEqual(["starting", "ready"]);
    expect((await fetch(service.url)).ok).toBe(true);
  });

  test("inherits PATH, HOME, LANG, TMPDIR and NODE_COMPILE_CACHE only, and gets the variables passed to it", async () => {
    process.env["OURS"] = "not for it";
    await using service = await startProcess({ main, env: { GIVEN: "for it" } });
    const seen = Object.keys(JSON.parse(await (await fetch(service.url)).text()));
    expect(seen).toEqual(expect.arrayContaining(["PATH", "HOME", "GIVEN"]));
    expect(
      seen.filter((name) => !["PATH", "HOME", "LANG", "TMPDIR", "NODE_COMPILE_CACHE", "GIVEN"].includes(name)),
    ).toEqual([]);
    delete process.env["OURS"];
  });

  test("stops on SIGTERM, and stop resolves with its exit code, signal and time", async () => {
    await using service = await startProcess({ main });
    await expect(service.stop()).resolves.toEqual({ code: 0, signal: null, ms: expect.any(Number) });
    expect(service.isRunning).toBe(false);
  });

  test("causes an error when it does not stop in time, and can then be killed", async () => {
    await using service = await startProcess({ main, env: { DEAF: "1" } });
    await expect(service.stop({ timeoutMs: 200 })).rejects.toThrow(
      "service.ts did not end within 200 ms after SIGTERM",
    );
    await expect(service.kill()).resolves.toMatchObject({ code: null, signal: "SIGKILL" });
  });

  test("does not answer while it is frozen, and answers after thaw", async () => {
    await using service = await startProcess({ main });
    service.freeze();
    const answer = fetch(service.url).then(({ ok }) => ok);
    await expect(Promise.race([answer, sleep(300, "nothing")])).resolves.toBe("nothing");
    service.thaw();
    await expect(answer).resolves.toBe(true);
  });

  test("reads lines from its stdin, and its lines on stdout and stderr are recorded", async () => {
    await using service = await startProcess({ main });
    service.write("hello\n");
    await expect.poll(() => service.lines.at(-1)).toEqual({ stream: "stderr", text: "heard hello", json: undefined });
  });

  test("causes an error with its last lines when it ends before it is ready, or is not ready in time", async () => {
    const broken = startProcess({ main: "/does/not/exist.ts" });
    await expect(broken).rejects.toThrow(/exist\.ts ended \(1\) before it was ready.*Cannot find module/s);
    const late = startProcess({ main, env: { NEVER_READY: "1" }, readyTimeoutMs: 1_000 });
    await expect(late).rejects.toThrow(/service\.ts did not log "msg":"ready" within 1000 ms.*\n {2}starting/);
  });

  test("counts as ended when it has ended, even if a child of its own still holds its output", async ({
    onTestFinished,
  }) => {
    await using program = await startProcess({ command: "sh", args: ["-c", "sleep 300 & echo $!; wait"] });
    await expect.poll(() => program.lines).toHaveLength(1);
    const child = Number(program.lines[0]?.text);
    onTestFinished(() => void process.kill(child, "SIGKILL"));
    await expect(program.kill()).resolves.toMatchObject({ signal: "SIGKILL" });
    expect(process.kill(child, 0)).toBe(true);
  });

  test('can be any program, and startProcess then does not wait for "ready"', async () => {
    await using program = await startProcess({ command: "sh", args: ["-c", "echo one; echo two >&2; exit 3"] });
    await expect(program.exited).resolves.toMatchObject({ code: 3 });
    expect(program.lines.map(({ text }) => text).toSorted()).toEqual(["one", "two"]);
  });

  test("causes an error when it cannot be started", async () => {
    await expect(startProcess({ command: "/does/not/exist" })).rejects.toThrow("ENOENT");
  });
});
