import { type ChildProcess, execFile, spawn } from "node:child_process";
import { once } from "node:events";
import { closeSync, openSync } from "node:fs";
import { chmod, chown, mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import { guard } from "./watchdog.ts";

export const execute = promisify(execFile);

/** A user of this machine; undefined is the user of this process. */
export type Account = { uid: number; gid: number } | undefined;

/** Servers do not run as root. @returns the first of these users that exists, else `nobody`; undefined unless this process is root */
export async function unprivilegedAccount(...names: string[]): Promise<Account> {
  if (process.getuid?.() !== 0) return undefined;
  const passwd = await readFile("/etc/passwd", "utf8");
  const users = new Map(passwd.split("\n").map((line) => [line.split(":")[0], line.split(":")] as const));
  const user = [...names, "nobody"].map((name) => users.get(name)).find((fields) => fields !== undefined);
  if (user === undefined)
    throw new Error(
      'A server must not run as root, and /etc/passwd has no user "nobody". Create one, or do not run this as root.',
    );
  return { uid: Number(user[2]), gid: Number(user[3]) };
}

export interface PrivateFolder {
  path: string;
  remove(): Promise<void>;
}

/**
 * Makes a temporary folder that only this account can read. `remove` deletes it, and so does the end of this process.
 * @param parent  the folder it is in. @default the system's folder for temporary files
 */
export async function privateFolder(name: string, account: Account, parent = tmpdir()): Promise<PrivateFolder> {
  const path = await mkdtemp(join(parent, `${name}-`));
  const release = guard({ folder: path });
  await chmod(path, 0o700);
  if (account !== undefined) await chown(path, account.uid, account.gid);
  return {
    path,
    async remove() {
      await rm(path, { recursive: true, force: true, maxRetries: 20, retryDelay: 100 });
      release();
    },
  };
}

/** A server process in its own session, so that Ctrl-C in a terminal does not reach it. */
export class PrivateProcess {
  readonly #child: ChildProcess;
  readonly #ended: Promise<unknown>;

  private constructor(child: ChildProcess, release: () => void) {
    this.#child = child;
    this.#ended = once(child, "exit").finally(release);
  }

  /** @param options.output  the file to which stdout and stderr are appended */
  static async start(
    command: string,
    args: string[],
    options: { account: Account; cwd: string; env: NodeJS.ProcessEnv; output: string },
  ): Promise<PrivateProcess> {
    const { account, cwd, env } = options;
    const output = openSync(options.output, "a");
    const child = spawn(command, args, { ...account, cwd, env, detached: true, stdio: ["ignore", output, output] });
    closeSync(output);
    await once(child, "spawn");
    const { pid } = child;
    if (pid === undefined) throw new Error(`${command} has no pid`);
    return new PrivateProcess(child, guard({ pid }));
  }

  get isRunning(): boolean {
    return this.#child.exitCode === null && this.#child.signalCode === null;
  }

  signal(signal: NodeJS.Signals): void {
    if (this.isRunning) this.#child.kill(signal);
  }

  /** Sends a signal and resolves when the process has ended. */
  async end(signal: NodeJS.Signals): Promise<void> {
    this.signal(signal);
    await this.#ended;
  }
}

/** Reads the last lines of a server's output, for error messages. */
export async function lastLines(file: string, count = 20): Promise<string> {
  const text = await readFile(file, "utf8").catch(() => "");
  return text.trimEnd().split("\n").slice(-count).join("\n");
}
