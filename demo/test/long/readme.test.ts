import { mkdtempSync, rmSync, utimesSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { system } from "@amqp-idioms/contracts";
import { type ServiceProcess, startProcess } from "@amqp-idioms/local-servers";
import { test } from "@amqp-idioms/local-servers/vitest";
import { connect } from "amqp-kit";
import { describe, expect, onTestFinished } from "vitest";

const root = join(import.meta.dirname, "../../..");
const services = ["score-producer", "score-display", "add-patient-api", "patient-registry", "scheduling", "reporting"];

/** Runs README's command with a free port and a data folder for this test. */
async function run(service: string, script: "start" | "dev", url: string): Promise<ServiceProcess> {
  const folder = mkdtempSync(join(tmpdir(), "readme-"));
  onTestFinished(() => rmSync(folder, { recursive: true, force: true }));
  const env = { AMQP_URL: url, DATA_DIR: folder, PORT: "0" };
  const started = await startProcess({
    name: `${service} ${script}`,
    command: join(root, "node_modules/.bin/pnpm"),
    args: ["--filter", `./services/${service}`, script],
    cwd: root,
    env,
    waitForReady: true,
    // Creating an embedded database takes long on a busy machine
    readyTimeoutMs: 50_000,
  });
  onTestFinished(() => started.close());
  return started;
}

function readyLines({ lines }: ServiceProcess): number {
  return lines.filter(({ json }) => json?.["msg"] === "ready").length;
}

describe("README's command", () => {
  test.for(services)(
    "pnpm --filter ./services/%s start runs this service alone",
    async (service, { vhost, cleanup }) => {
      // A subscriber is ready when the notifier's exchange exists
      cleanup(await connect(vhost.url, { system, service: "patient-registry" }));
      const started = await run(service, "start", vhost.url);
      expect((await fetch(`${started.url}/livez`)).status).toBe(200);
      // pnpm forwards the signal, and then ends by it itself
      await started.stop();
      expect(started.lines.at(-1)?.json).toMatchObject({ msg: "stopped" });
    },
  );

  test("dev restarts a service when a file changes", async ({ vhost }) => {
    const started = await run("score-display", "dev", vhost.url);
    const now = new Date();
    utimesSync(join(root, "services/score-display/src/main.ts"), now, now);
    await expect.poll(() => readyLines(started)).toBe(2);
    await started.stop();
  });
});
