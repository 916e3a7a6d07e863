import { execFileSync } from "node:child_process";
import { join } from "node:path";
import { startProcess, type ServiceProcess } from "@amqp-idioms/local-servers";
import { test as base } from "@amqp-idioms/local-servers/vitest";
import { expect } from "vitest";

const interop = join(import.meta.dirname, "..");
const services = join(interop, "../services");

/** What a script said, and how it ended. */
interface Said {
  stdout: string;
  stderr: string;
  code: number | null;
}

interface Roles {
  /** Starts a script of its language with these arguments after the URL, and resolves when it waits for messages. */
  start(script: string, ...args: string[]): Promise<ServiceProcess>;
  /** Runs one to its end. */
  run(script: string, ...args: string[]): Promise<Said>;
}

type Service = "add-patient-api" | "patient-registry" | "reporting" | "scheduling" | "score-display" | "score-producer";

/** Debian's package is for the system's Python, which another one on PATH may hide. */
const python = ["python3", "/usr/bin/python3"].find((command) => {
  try {
    execFileSync(command, ["-c", "import amqp"], { stdio: "ignore" });
    return true;
  } catch {
    return false;
  }
});

/** `test` with both languages' roles, and our services, all on a virtual host of the test's own. */
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
    ({ vhost, cleanup }) =>
      async (name: Service, ...args: string[]): Promise<ServiceProcess> =>
        cleanup(
          await startProcess({
            name,
            main: join(services, name, "src/main.ts"),
            args,
            env: { AMQP_URL: vhost.url, DATA_DIR: "memory://", PORT: "0" },
            // An embedded database comes up slowly where much else runs
            readyTimeoutMs: 60_000,
          }),
        ),
  );

function roles(launch: (script: string, args: readonly string[]) => Promise<ServiceProcess>): Roles {
  return {
    async start(script, ...args) {
      const started = await launch(script, args);
      await expect.poll(() => [started.isRunning, ...text(started)]).toContain("Waiting; Ctrl-C ends it");
      return started;
    },
    async run(script, ...args) {
      const started = await launch(script, args);
      const { code } = await started.exited;
      return { code, stdout: text(started).join("\n"), stderr: text(started, "stderr").join("\n") };
    },
  };
}

/** The lines that a process has written. */
function text({ lines }: ServiceProcess, stream: "stdout" | "stderr" = "stdout"): string[] {
  return lines.filter((line) => line.stream === stream).map((line) => line.text);
}

/** The lines that a script has written since it waits for messages. */
export function heard(script: ServiceProcess): string[] {
  return text(script).slice(1);
}
