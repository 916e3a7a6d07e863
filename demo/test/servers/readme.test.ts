import { mkdtempSync, readFileSync, rmSync, utimesSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { system } from "@amqp-idioms/contracts";
import { type ServiceProcess, startProcess } from "@amqp-idioms/local-servers";
import { test } from "@amqp-idioms/local-servers/vitest";
import { connect } from "amqp-kit";
import { describe, expect, onTestFinished } from "vitest";

const root = join(import.meta.dirname, "../../..");
const services = ["score-producer", "score-display", "add-patient-api", "patient-registry", "scheduling", "reporting"];

/** As README says, with a free port and a data folder of its own. */
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
    // A new embedded database takes its time on a busy machine
    readyTimeoutMs: 50_000,
  });
  onTestFinished(() => started.close());
  return started;
}

function readyLines({ lines }: ServiceProcess): number {
  return lines.filter(({ json }) => json?.["msg"] === "ready").length;
}

describe("README's commands", () => {
  test.for(services)("pnpm --filter ./services/%s start runs it alone", async (service, { vhost, cleanup }) => {
    // A subscriber is ready when the notifier's exchange is there
    cleanup(await connect(vhost.url, { system, service: "patient-registry" }));
    const started = await run(service, "start", vhost.url);
    expect((await fetch(`${started.url}/livez`)).status).toBe(200);
    // pnpm passes the signal on, and then ends by it itself
    await started.stop();
    expect(started.lines.at(-1)?.json).toMatchObject({ msg: "stopped" });
  });

  test("dev runs a service again when a file changes", async ({ vhost }) => {
    const started = await run("score-display", "dev", vhost.url);
    const now = new Date();
    utimesSync(join(root, "services/score-display/src/main.ts"), now, now);
    await expect.poll(() => readyLines(started)).toBe(2);
    await started.stop();
  });

  test("name the pnpm that the project is pinned to", () => {
    const { packageManager } = JSON.parse(readFileSync(join(root, "package.json"), "utf8"));
    expect(readFileSync(join(root, "README.md"), "utf8")).toContain(`npx -y ${packageManager} install`);
  });
});
