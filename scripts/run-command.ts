import { spawn } from "node:child_process";
import { stripVTControlCharacters } from "node:util";

export interface CommandResult {
  /** 0 when it went well; 1 too when a signal ended it */
  exitCode: number;
  /** standard output and standard error, as they came, less colours: some tools colour what they write in CI, though it is no terminal */
  output: string;
}

/**
 * Runs a command to its end; the first word is looked up in PATH, where `scripts/run.mjs` has put node_modules/.bin.
 * SIGINT and SIGTERM to this process are passed on to the command meanwhile.
 * @param options.show  write its output through, as it comes. @default false
 */
export async function runCommand(
  [command, ...args]: readonly [string, ...string[]],
  options: { cwd?: string; env?: Record<string, string>; show?: boolean } = {},
): Promise<CommandResult> {
  const env = { ...process.env, TURBO_TELEMETRY_DISABLED: "1", TURBO_NO_UPDATE_NOTIFIER: "1", ...options.env };
  const child = spawn(command, args, { cwd: options.cwd, env, stdio: ["ignore", "pipe", "pipe"] });
  let output = "";
  child.stdout.setEncoding("utf8").on("data", (text: string) => {
    output += text;
    if (options.show) process.stdout.write(text);
  });
  child.stderr.setEncoding("utf8").on("data", (text: string) => {
    output += text;
    if (options.show) process.stderr.write(text);
  });
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
