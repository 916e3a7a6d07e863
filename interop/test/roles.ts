import { execFileSync } from "node:child_process";
import { join } from "node:path";
import { startProcess, type ServiceProcess } from "@amqp-idioms/local-servers";
import { test as base } from "@amqp-idioms/local-servers/vitest";
import { expect } from "vitest";

const interop = join(import.meta.dirname, "..");
const services = join(interop, "../services");

/** The output of a script, and how it ended. */
interface Result {
  stdout: string;
  stderr: string;
  code: number | null;
}

interface Roles {
  /** Starts a script with the URL and these arguments, and resolves when it is waiting for messages. */
  start(script: string, ...args: string[]): Promise<ServiceProcess>;
  /** Runs a script until it exits. */
  run(script: string, ...args: string[]): Promise<Result>;
}

type Service = "add-patient-api" | "patient-registry" | "reporting" | "scheduling" | "score-display" | "score-producer";

const withDatabase: readonly Service[] = ["patient-registry", "scheduling", "reporting"];

/** Debian's package installs for the system's Python, which may not be the first one on PATH. */
const python = ["python3", "/usr/bin/python3"].find((command) => {
  try {
    execFileSync(command, ["-c", "import amqp"], { stdio: "ignore" });
    return true;
  } catch {
    return false;
  }
});

/** `test` with the roles in both languages and our services, all on the test's own virtual host. */
export const test = base
  .extend("python", ({ vhost, cleanup, skip }): Roles => {
    if (python === undefined) return skip("needs Python 3 with py-amqp: apt-get install python3-amqp");
    const env = { PYTHONDONTWRITEBYTECODE: "1" };
    return roles(async (script, args) => {
      const path = join(interop, "python", script);
      return cleanup(await startProcess({ command: python, name: script, args: [path, vhost.url, ...args], env }));
    });
  })
  .extend("typescript", ({ vhost, cleanup }): Roles =>
    roles(async (script, args) => {
      const main = join(interop, "src", script);
      return cleanup(await startProcess({ main, args: [vhost.url, ...args], waitForReady: false }));
    }),
  )
  .extend(
    "service",
    ({ vhost, dataFolder, cleanup }) =>
      async (name: Service, ...args: string[]): Promise<ServiceProcess> =>
        cleanup(
          await startProcess({
            name,
            main: join(services, name, "src/main.ts"),
            args,
            env: {
              AMQP_URL: vhost.url,
              PORT: "0",
              ...(withDatabase.includes(name) && { DATA_DIR: await dataFolder(name) }),
            },
          }),
        ),
  );

function roles(launch: (script: string, args: readonly string[]) => Promise<ServiceProcess>): Roles {
  return {
    async start(script, ...args) {
      const started = await launch(script, args);
      await expect.poll(() => [started.isRunning, ...allLinesOf(started)]).toContain("Waiting; press Ctrl-C to stop");
      return started;
    },
    async run(script, ...args) {
      const started = await launch(script, args);
      const { code } = await started.exited;
      return { code, stdout: allLinesOf(started).join("\n"), stderr: allLinesOf(started, "stderr").join("\n") };
    },
  };
}

/** The lines that a process has written. */
function allLinesOf({ lines }: ServiceProcess, stream: "stdout" | "stderr" = "stdout"): string[] {
  return lines.filter((line) => line.stream === stream).map((line) => line.text);
}

/** The lines that a script has written since it started to wait for messages. */
export function linesOf(script: ServiceProcess): string[] {
  return allLinesOf(script).slice(1);
}
