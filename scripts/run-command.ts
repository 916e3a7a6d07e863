import { spawn } from "node:child_process";
import { stripVTControlCharacters } from "node:util";

export interface CommandResult {
  /** 0 is success; 1 if a signal ended the command */
  exitCode: number;
  /** standard output and standard error in order, without colours: some tools write colours in CI, where there is no terminal */
  output: string;
}

/**
 * Runs a command to its end. PATH includes node_modules/.bin, by `scripts/run.mjs`.
 * Forwards SIGINT and SIGTERM to the command.
 */
export async function runCommand(
  [command, ...args]: readonly [string, ...string[]],
  options: { cwd?: string; env?: Record<string, string> } = {},
): Promise<CommandResult> {
  const env = { ...process.env, TURBO_TELEMETRY_DISABLED: "1", TURBO_NO_UPDATE_NOTIFIER: "1", ...options.env };
  const child = spawn(command, args, { cwd: options.cwd, env, stdio: ["ignore", "pipe", "pipe"] });
  let output = "";
  for (const stream of [child.stdout, child.stderr]) {
    stream.setEncoding("utf8").on("data", (text: string) => (output += text));
  }
  const forward = (signal: NodeJS.Signals): unknown => child.kill(signal);
  process.on("SIGINT", forward).on("SIGTERM", forward);
  try {
    const exitCode = await new Promise<number>((resolve, reject) => {
      child.once("error", reject);
      child.once("close", (code) => resolve(code ?? 1));
    });
    return { exitCode, output: stripVTControlCharacters(output) };
  } finally {
    process.off("SIGINT", forward).off("SIGTERM", forward);
  }
}
