import { once } from "node:events";
import { connect } from "node:net";
import { setTimeout as sleep } from "node:timers/promises";
import { describe, expect, test } from "vitest";
import { messages, start, urlOf } from "./started.ts";

describe("a service that gets a stop signal", () => {
  test.for(["SIGTERM", "SIGINT", "SIGHUP", "SIGQUIT"] as const)(
    "stops gracefully on %s and exits 0 (pitfall 102)",
    async (signal) => {
      await using service = await start("owning");
      expect(await service.stop({ signal })).toMatchObject({ code: 0, signal: null });
      expect(messages(service).slice(-4)).toEqual(["stopping", "closed last", "closed first", "stopped"]);
    },
  );

  test("closes everything once and exits 0 when three signals arrive 10 ms apart (pitfall 103)", async () => {
    await using service = await start("owning", { env: { SLOWLY: "300" } });
    service.signal("SIGTERM");
    await sleep(10);
    service.signal("SIGINT");
    await sleep(10);
    service.signal("SIGTERM");
    expect(await service.exited).toMatchObject({ code: 0 });
    expect(messages(service).slice(-4)).toEqual(["stopping", "closed last", "closed first", "stopped"]);
  });

  test("exits 1 after STOP_TIMEOUT_MS and logs what is still open", async () => {
    await using service = await start("owning", { env: { STUBBORN: "1", STOP_TIMEOUT_MS: "400" } });
    const { code, ms } = await service.stop();
    expect(code).toBe(1);
    expect(ms).toBeLessThan(2_000);
    expect(service.lines.at(-1)?.json).toMatchObject({
      msg: "stop timed out (STOP_TIMEOUT_MS)",
      level: "fatal",
      stillOpen: ["first", "the stubborn one"],
    });
  });

  test("closes the other resources when one fails to close, and exits 1", async () => {
    await using service = await start("owning", { env: { BROKEN: "1" } });
    expect(await service.stop()).toMatchObject({ code: 1 });
    expect(messages(service)).toEqual(expect.arrayContaining(["closed last", "closed first"]));
    expect(service.lines.find(({ json }) => json?.["name"] === "the broken one")?.json).toMatchObject({
      msg: "failed to close",
    });
  });

  test("stops immediately during its start, and closes what was opened before and after the signal", async () => {
    await using service = await start("waiting", { waitForReady: false });
    await expect.poll(() => messages(service)).toContain("waiting");
    const { code, ms } = await service.stop();
    expect(code).toBe(0);
    expect(ms).toBeLessThan(1_000);
    expect(messages(service).slice(-3)).toEqual([
      "closed what was opened before the signal",
      "closed what was opened after the signal",
      "stopped",
    ]);
  });

  test("exits 1 after STOP_TIMEOUT_MS when its start ignores the signal, and logs that the start is still open", async () => {
    await using service = await start("waiting", { waitForReady: false, env: { DEAF: "1", STOP_TIMEOUT_MS: "300" } });
    await expect.poll(() => messages(service)).toContain("waiting");
    expect(await service.stop()).toMatchObject({ code: 1 });
    expect(service.lines.at(-1)?.json).toMatchObject({ stillOpen: ["start"] });
  });

  test("finishes a request in flight, refuses new ones, and closes idle connections", async () => {
    await using service = await start("plain");
    const idle = connect(service.port, "127.0.0.1");
    await once(idle, "connect");
    const inFlight = fetch(`${service.url}/slow`);
    await expect.poll(() => messages(service)).toContain("slow has begun");
    const stopped = service.stop();
    expect(await (await inFlight).json()).toEqual({ slow: true });
    expect(await stopped).toMatchObject({ code: 0 });
    await expect(fetch(`${service.url}/livez`)).rejects.toThrow("fetch failed");
    idle.destroy();
  });

  test("cuts a request that does not finish within the stop timeout, and exits 0", async () => {
    await using service = await start("plain", { env: { STOP_TIMEOUT_MS: "500" } });
    // A client that never finishes its request
    const slow = connect(service.port, "127.0.0.1");
    slow.on("error", () => {});
    slow.write("POST /people HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: 100\r\n\r\n{");
    await expect.poll(() => slow.bytesWritten).toBeGreaterThan(0);
    expect(await (await fetch(`${service.url}/livez`)).json()).toEqual({ status: "alive" });
    expect(await service.stop()).toMatchObject({ code: 0 });
  });
});

describe("a service that ends by itself", () => {
  test("exits 0 when its work is finished", async () => {
    await using service = await start("failing");
    expect(await service.exited).toMatchObject({ code: 0 });
    expect(messages(service)).toEqual(["listening", "ready", "stopping", "closed", "stopped"]);
  });

  test.for(["start", "uncaught", "unhandled", "finished"])(
    "stops gracefully and exits 1 when it fails: %s",
    async (fails) => {
      await using service = await start("failing", { waitForReady: false, env: { FAILS: fails } });
      expect(await service.exited).toMatchObject({ code: 1 });
      expect(messages(service).slice(-3)).toEqual(["stopping", "closed", "stopped"]);
      const output = service.lines.map(({ text }) => text).join("\n");
      expect(output).toContain("cannot read postgres://…@host/db");
      expect(output).not.toMatch(/secret|Bloom/);
    },
  );

  test("finishes its stop and exits 1 when an error is not caught during the stop", async () => {
    await using service = await start("failing", { env: { FAILS: "while stopping" } });
    expect(await service.stop()).toMatchObject({ code: 1 });
    expect(messages(service).slice(-3)).toEqual(["unhandled rejection", "closed", "stopped"]);
  });

  test("exits 1 when its port is in use, and names the variable to set", async () => {
    await using first = await start("plain");
    await using second = await start("plain", { waitForReady: false, env: { PORT: String(first.port) } });
    expect(await second.exited).toMatchObject({ code: 1 });
    expect(JSON.stringify(second.lines)).toMatch(/the port is in use. Set PORT/);
  });

  test("exits 1 when it cannot listen on its host, and names the variable to set", async () => {
    await using service = await start("plain", { waitForReady: false, env: { HOST: "host.invalid" } });
    expect(await service.exited).toMatchObject({ code: 1 });
    expect(JSON.stringify(service.lines)).toMatch(/Cannot listen on host.invalid.*or HOST/);
  });
});

test("a service keeps running when its output is no longer read, and stops gracefully", async () => {
  // head ends after the first line and closes the pipe
  const main = new URL("processes/plain.ts", import.meta.url).pathname;
  const command = `PORT=0 LOG_LEVEL=debug "${process.execPath}" "${main}" & echo "pid $!" >&2; wait $!; echo "code $?" >&2`;
  const { startProcess } = await import("@amqp-idioms/local-servers");
  await using shell = await startProcess({ command: "sh", args: ["-c", `{ ${command}; } | head -n 1`] });
  await expect.poll(() => urlOf(shell)).toBeDefined();
  const url = urlOf(shell);
  // Each of these writes a line to a pipe that nobody reads
  for (let n = 0; n < 20; n += 1) expect((await fetch(`${url}/fails`)).status).toBe(500);
  const pid = Number(shell.lines.find(({ text }) => text.startsWith("pid "))?.text.slice(4));
  process.kill(pid, "SIGTERM");
  await expect.poll(() => messages(shell)).toContain("code 0");
});
