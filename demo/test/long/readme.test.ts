import { utimesSync } from "node:fs";
import { join } from "node:path";
import { system } from "@amqp-idioms/contracts";
import { type ServiceProcess, startProcess } from "@amqp-idioms/local-servers";
import { type Cleanup, test } from "@amqp-idioms/local-servers/vitest";
import { connect } from "amqp-kit";
import { describe, expect } from "vitest";

const root = join(import.meta.dirname, "../../..");
const withoutDatabase = ["score-producer", "score-display", "add-patient-api"];
const withDatabase = ["patient-registry", "scheduling", "reporting"];

/** Runs README's command with a free port, and with `env` in its environment. */
async function run(
  service: string,
  script: "start" | "dev",
  cleanup: Cleanup,
  env: Record<string, string>,
): Promise<ServiceProcess> {
  return cleanup(
    await startProcess({
      name: `${service} ${script}`,
      command: join(root, "node_modules/.bin/pnpm"),
      args: ["--filter", `./services/${service}`, script],
      cwd: root,
      env: { PORT: "0", ...env },
      waitForReady: true,
    }),
  );
}

async function expectRunsAndStops(service: ServiceProcess): Promise<void> {
  expect((await fetch(`${service.url}/livez`)).status).toBe(200);
  // pnpm forwards the signal, and then ends by it itself
  await service.stop();
  expect(service.lines.at(-1)?.json).toMatchObject({ msg: "stopped" });
}

function readyLines({ lines }: ServiceProcess): number {
  return lines.filter(({ json }) => json?.["msg"] === "ready").length;
}

describe("README's command", () => {
  test.for(withoutDatabase)(
    "pnpm --filter ./services/%s start runs this service alone",
    async (service, { vhost, cleanup }) => {
      await expectRunsAndStops(await run(service, "start", cleanup, { AMQP_URL: vhost.url }));
    },
  );

  test.for(withDatabase)(
    "pnpm --filter ./services/%s start runs this service alone, on an embedded database",
    async (service, { vhost, dataFolder, cleanup }) => {
      const env = { AMQP_URL: vhost.url, DATA_DIR: await dataFolder(service) };
      // A subscriber is ready when the notifier's exchange exists
      cleanup(await connect(vhost.url, { system, service: "patient-registry" }));
      await expectRunsAndStops(await run(service, "start", cleanup, env));
    },
  );

  test("dev restarts a service when a file changes", async ({ vhost, cleanup }) => {
    const started = await run("score-display", "dev", cleanup, { AMQP_URL: vhost.url });
    const now = new Date();
    utimesSync(join(root, "services/score-display/src/main.ts"), now, now);
    await expect.poll(() => readyLines(started)).toBe(2);
    await started.stop();
  });
});
