import { readFile } from "node:fs/promises";
import { fileURLToPath } from "node:url";
import { startProcess } from "@amqp-idioms/local-servers";
import { test } from "@amqp-idioms/local-servers/vitest";
import { expect } from "vitest";
import { report, startReporting } from "./reporting.ts";

test("what the README says to try has the effect that it tells of", async ({ vhost, cleanup }) => {
  const env = { AMQP_URL: vhost.url };
  const readme = await readFile(new URL("../../README.md", import.meta.url), "utf8");
  const script = /```sh\n(.*?)```/s.exec(readme)?.[1] ?? "";
  const cwd = fileURLToPath(new URL("../../", import.meta.url));
  const [service, snippet] = await Promise.all([
    startReporting({ ...env, DATA_DIR: "memory://" }).then(cleanup),
    startProcess({ command: "bash", args: ["-ec", script], cwd, env }).then(cleanup),
  ]);
  expect(await snippet.exited).toMatchObject({ code: 0 });
  const saidTwice = (): boolean => service.lines.some(({ json }) => json?.["msg"] === "already counted, nothing to do");
  await expect.poll(saidTwice).toBe(true);
  const { days, ageBands } = await report(service, "");
  expect(days).toEqual([{ date: expect.any(String), count: 1 }]);
  expect(ageBands.find(({ count }) => count > 0)).toEqual({ band: "40-64", count: 1 });
});
