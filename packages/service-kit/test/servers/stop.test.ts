import { once } from "node:events";
import { connect } from "node:net";
import { setTimeout as sleep } from "node:timers/promises";
import { describe, expect, test } from "vitest";
import { said, started, urlOf } from "./started.ts";

describe("a service that is told to stop", () => {
  test.for(["SIGTERM", "SIGINT", "SIGHUP"] as const)(
    "by %s stops in good order and exits 0 (pitfall 102)",
    async (signal) => {
      await using service = await started("owning");
      expect(await service.stop({ signal })).toMatchObject({ code: 0, signal: null });
      expect(said(service).slice(-4)).toEqual(["stopping", "closed last", "closed first", "stopped"]);
    },
  );

  test("twice, 10 ms apart, closes everything once and exits 0 (pitfall 103)", async () => {
    await using service = await started("owning", { env: { SLOWLY: "300" } });
    service.signal("SIGTERM");
    await sleep(10);
    service.signal("SIGINT");
    await sleep(10);
    service.signal("SIGTERM");
    expect(await service.exited).toMatchObject({ code: 0 });
    expect(said(service).slice(-4)).toEqual(["stopping", "closed last", "closed first", "stopped"]);
  });

  test("exits 1 past STOP_TIMEOUT_MS, and says what did not close", async () => {
    await using service = await started("owning", { env: { STUBBORN: "1", STOP_TIMEOUT_MS: "400" } });
    const { code, ms } = await service.stop();
    expect(code).toBe(1);
    expect(ms).toBeLessThan(2_000);
    expect(service.lines.at(-1)?.json).toMatchObject({
      msg: "not stopped in time (STOP_TIMEOUT_MS)",
      level: "fatal",
      stillOpen: ["first", "the stubborn one"],
    });
  });

  test("closes the rest when one thing does not close, and exits 1", async () => {
    await using service = await started("owning", { env: { BROKEN: "1" } });
    expect(await service.stop()).toMatchObject({ code: 1 });
    expect(said(service)).toEqual(expect.arrayContaining(["closed last", "closed first"]));
    expect(service.lines.find(({ json }) => json?.["name"] === "the broken one")?.json).toMatchObject({
      msg: "did not close in good order",
    });
  });

  test("while it starts stops at once, and closes what was opened before and after the signal", async () => {
    await using service = await started("waiting", { waitForReady: false });
    await expect.poll(() => said(service)).toContain("waiting");
    const { code, ms } = await service.stop();
    expect(code).toBe(0);
    expect(ms).toBeLessThan(1_000);
    expect(said(service).slice(-3)).toEqual(["closed what was opened before", "closed what came late", "stopped"]);
  });

  test("while it starts and does not listen exits 1 in time, and says so", async () => {
    await using service = await started("waiting", { waitForReady: false, env: { DEAF: "1", STOP_TIMEOUT_MS: "300" } });
    await expect.poll(() => said(service)).toContain("waiting");
    expect(await service.stop()).toMatchObject({ code: 1 });
    expect(service.lines.at(-1)?.json).toMatchObject({ stillOpen: ["start"] });
  });

  test("lets a request in hand finish, takes no new one, and cuts idle connections", async () => {
    await using service = await started("plain");
    const idle = connect(service.port, "127.0.0.1");
    await once(idle, "connect");
    const inHand = fetch(`${service.url}/slow`);
    await expect.poll(() => said(service)).toContain("slow has begun");
    const stopped = service.stop();
    expect(await (await inHand).json()).toEqual({ slow: true });
    expect(await stopped).toMatchObject({ code: 0 });
    await expect(fetch(`${service.url}/livez`)).rejects.toThrow("fetch failed");
    idle.destroy();
  });

  test("cuts a request that takes too long, in time", async () => {
    await using service = await started("plain", { env: { STOP_TIMEOUT_MS: "500" } });
    // A client that never finishes its request
    const slow = connect(service.port, "127.0.0.1");
    slow.on("error", () => {});
    slow.write("POST /people HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: 100\r\n\r\n{");
    await expect.poll(() => slow.bytesWritten).toBeGreaterThan(0);
    expect(await (await fetch(`${service.url}/livez`)).json()).toEqual({ status: "alive" });
    expect(await service.stop()).toMatchObject({ code: 0 });
  });
});

describe("a service that comes to an end by itself", () => {
  test("exits 0 when its work is finished", async () => {
    await using service = await started("failing");
    expect(await service.exited).toMatchObject({ code: 0 });
    expect(said(service)).toEqual(["listening", "ready", "stopping", "closed", "stopped"]);
  });

  test.for(["start", "uncaught", "unhandled", "finished"])(
    "exits 1 after an orderly stop when it fails: %s",
    async (fails) => {
      await using service = await started("failing", { waitForReady: false, env: { FAILS: fails } });
      expect(await service.exited).toMatchObject({ code: 1 });
      expect(said(service).slice(-3)).toEqual(["stopping", "closed", "stopped"]);
      const output = service.lines.map(({ text }) => text).join("\n");
      expect(output).toContain("cannot read postgres://…@host/db");
      expect(output).not.toMatch(/secret|Bloom/);
    },
  );

  test("exits 1, but finishes its stop, when something is thrown meanwhile", async () => {
    await using service = await started("failing", { env: { FAILS: "while stopping" } });
    expect(await service.stop()).toMatchObject({ code: 1 });
    expect(said(service).slice(-3)).toEqual(["unhandled rejection", "closed", "stopped"]);
  });

  test("exits 1 when its port is in use, and says which variable to set", async () => {
    await using first = await started("plain");
    await using second = await started("plain", { waitForReady: false, env: { PORT: String(first.port) } });
    expect(await second.exited).toMatchObject({ code: 1 });
    expect(JSON.stringify(second.lines)).toMatch(/it is in use. Set PORT/);
  });

  test("exits 1 when it cannot listen on its host, and says which variable to set", async () => {
    await using service = await started("plain", { waitForReady: false, env: { HOST: "host.invalid" } });
    expect(await service.exited).toMatchObject({ code: 1 });
    expect(JSON.stringify(service.lines)).toMatch(/Cannot listen on host.invalid.*or HOST/);
  });
});

test("a service whose output nobody reads any more lives on, and stops as ever", async () => {
  // head ends after the first line, and its pipe with it
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
  await expect.poll(() => said(shell)).toContain("code 0");
});
