import { readFile } from "node:fs/promises";
import { fileURLToPath } from "node:url";
import { startProcess } from "@amqp-idioms/local-servers";
import { test } from "@amqp-idioms/local-servers/vitest";
import { expect } from "vitest";
import { patientsBooked, startScheduling } from "./scheduling.ts";

test("what the README says to try has the effect that it tells of", async ({ vhost, cleanup }) => {
  const env = { AMQP_URL: vhost.url };
  const readme = await readFile(new URL("../../README.md", import.meta.url), "utf8");
  const script = /```sh\n(.*?)```/s.exec(readme)?.[1] ?? "";
  const cwd = fileURLToPath(new URL("../../", import.meta.url));
  const [service, snippet] = await Promise.all([
    startScheduling({ ...env, DATA_DIR: "memory://" }).then(cleanup),
    startProcess({ command: "bash", args: ["-ec", script], cwd, env }).then(cleanup),
  ]);
  expect(await snippet.exited).toMatchObject({ code: 0 });
  const [, patientId] = /^told of (\S+)$/.exec(snippet.lines[0]?.text ?? "") ?? [];
  await expect.poll(() => patientsBooked(service)).toEqual([patientId]);
});
