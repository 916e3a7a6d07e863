import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { basename } from "node:path";
import { createInterface } from "node:readline";
import type { Readable } from "node:stream";
import { guard } from "./watchdog.ts";
import { within } from "./within.ts";

export interface StartProcessOptions {
  /** Path of a TypeScript or JavaScript file, run by the same Node.js as this process. Give either this or `command` */
  main?: string;
  /** A program, started without a shell */
  command?: string;
  args?: readonly string[];
  /** The process gets these, and PATH, HOME, LANG, TMPDIR and NODE_COMPILE_CACHE of this process; nothing else of its environment */
  env?: Readonly<Record<string, string | undefined>>;
  cwd?: string;
  /** For error messages. @default the name of the file */
  name?: string;
  /** Whether to wait for the JSON line with `"msg":"ready"`. @default true with `main`, else false */
  waitForReady?: boolean;
  /** @default 30000 */
  readyTimeoutMs?: number;
}

/** How long the output of an ended process is still read: its own children may keep it open. */
const outputTimeoutMs = 5_000;

/** A line of stdout or stderr; `json` is its content if it is a JSON object, as the services' log lines are. */
export interface OutputLine {
  stream: "stdout" | "stderr";
  text: string;
  json: Readonly<Record<string, unknown>> | undefined;
}

export interface Exit {
  code: number | null;
  signal: NodeJS.Signals | null;
  /** Milliseconds from the signal to its end; from its start if it ended by itself */
  ms: number;
}

export interface ServiceProcess extends AsyncDisposable {
  readonly name: string;
  readonly pid: number;
  /** The port in the ready line; 0 before that line, and if it has none */
  readonly port: number;
  /** `http://127.0.0.1:port` */
  readonly url: string;
  readonly lines: readonly OutputLine[];
  readonly isRunning: boolean;
  readonly exited: Promise<Exit>;
  /** Calls `listener` for each further line. @returns a function that stops it */
  onLine(listener: (line: OutputLine) => void): () => void;
  /** Writes to its stdin. */
  write(text: string): void;
  /** Closes its stdin. */
  endInput(): void;
  /** Sends SIGTERM or `signal`; resolves when it has ended. @throws Error when it has not ended within `timeoutMs` (default 20 s) */
  stop(options?: { signal?: NodeJS.Signals; timeoutMs?: number }): Promise<Exit>;
  /** Sends `kill -9`; resolves when it has ended. */
  kill(): Promise<Exit>;
  signal(signal: NodeJS.Signals): void;
  /** Sends SIGSTOP: the process keeps its sockets open and does nothing. */
  freeze(): void;
  thaw(): void;
  /** Kills it if it still runs. */
  close(): Promise<void>;
}

/**
 * Starts a service as a user does, and resolves when it logs `"msg":"ready"`.
 * @throws Error with its last lines when it ends before that, or does not log it within `readyTimeoutMs`
 * @example
 * await using service = await startProcess({ main: "services/reporting/src/main.ts", env: { AMQP_URL: vhost.url, PORT: "0" } });
 * await fetch(`${service.url}/readyz`);
 */
export async function startProcess(options: StartProcessOptions): Promise<ServiceProcess> {
  const { main, args = [], cwd, readyTimeoutMs = 30_000 } = options;
  const command = main === undefined ? options.command : process.execPath;
  if (command === undefined) throw new TypeError('startProcess needs "main" or "command".');
  const name = options.name ?? basename(main ?? command);
  const inherited = ["PATH", "HOME", "LANG", "TMPDIR", "NODE_COMPILE_CACHE"].map(
    (key) => [key, process.env[key]] as const,
  );
  const child = spawn(command, main === undefined ? args : [main, ...args], {
    cwd,
    env: { ...Object.fromEntries(inherited), ...options.env },
    stdio: ["pipe", "pipe", "pipe"],
    // In its own session: Ctrl-C in a terminal reaches this process only, which then stops it
    detached: true,
  });
  await once(child, "spawn");
  const started = new ChildService(name, child);
  if (options.waitForReady ?? main !== undefined) {
    try {
      await started.ready(readyTimeoutMs);
    } catch (error) {
      await started.close();
      throw error;
    }
  }
  return started;
}

class ChildService implements ServiceProcess {
  readonly name: string;
  readonly pid: number;
  readonly lines: OutputLine[] = [];
  readonly exited: Promise<Exit>;
  port = 0;
  readonly #child: ChildProcess;
  readonly #listeners = new Set<(line: OutputLine) => void>();
  #since = performance.now();

  constructor(name: string, child: ChildProcess) {
    if (child.pid === undefined) throw new Error(`${name} has no pid`);
    this.name = name;
    this.pid = child.pid;
    this.#child = child;
    const release = guard({ pid: child.pid });
    this.#read(child.stdout, "stdout");
    this.#read(child.stderr, "stderr");
    child.stdin?.on("error", () => {});
    const { promise, resolve } = Promise.withResolvers<Exit>();
    this.exited = promise;
    child.on("exit", (code, signal) => {
      release();
      const exit = { code, signal, ms: Math.round(performance.now() - this.#since) };
      // "close" follows when all output has been read; a child of the process may keep the output open
      const timer = setTimeout(() => resolve(exit), outputTimeoutMs);
      child.on("close", () => {
        clearTimeout(timer);
        resolve(exit);
      });
    });
  }

  get isRunning(): boolean {
    return this.#child.exitCode === null && this.#child.signalCode === null;
  }

  get url(): string {
    return `http://127.0.0.1:${this.port}`;
  }

  #read(stream: Readable | null, name: OutputLine["stream"]): void {
    if (stream === null) return;
    createInterface({ input: stream }).on("line", (text) => {
      const line = { stream: name, text, json: parseObject(text) };
      this.lines.push(line);
      for (const listener of this.#listeners) listener(line);
    });
  }

  async ready(timeoutMs: number): Promise<void> {
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    const checkReady = ({ json }: OutputLine): void => {
      if (json?.["msg"] !== "ready") return;
      if (typeof json["port"] === "number") this.port = json["port"];
      resolve();
    };
    const off = this.onLine(checkReady);
    this.lines.forEach(checkReady);
    const timer = setTimeout(
      () => reject(this.#failure(`did not log "msg":"ready" within ${timeoutMs} ms`)),
      timeoutMs,
    );
    void this.exited.then(({ code, signal }) => reject(this.#failure(`ended (${signal ?? code}) before it was ready`)));
    try {
      await promise;
    } finally {
      clearTimeout(timer);
      off();
    }
  }

  onLine(listener: (line: OutputLine) => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  write(text: string): void {
    this.#child.stdin?.write(text);
  }

  endInput(): void {
    this.#child.stdin?.end();
  }

  signal(signal: NodeJS.Signals): void {
    if (this.isRunning) this.#child.kill(signal);
  }

  freeze(): void {
    this.signal("SIGSTOP");
  }

  thaw(): void {
    this.signal("SIGCONT");
  }

  async stop(options: { signal?: NodeJS.Signals; timeoutMs?: number } = {}): Promise<Exit> {
    const { signal = "SIGTERM", timeoutMs = 20_000 } = options;
    this.#since = performance.now();
    this.signal(signal);
    return within(this.exited, timeoutMs, () => this.#failure(`did not end within ${timeoutMs} ms after ${signal}`));
  }

  async kill(): Promise<Exit> {
    this.#since = performance.now();
    this.signal("SIGKILL");
    return this.exited;
  }

  async close(): Promise<void> {
    await this.kill();
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  #failure(what: string): Error {
    const last = this.lines.slice(-20).map(({ text }) => `  ${text}`);
    return new Error([`${this.name} ${what}. Its last lines:`, ...last].join("\n"));
  }
}

function parseObject(text: string): Record<string, unknown> | undefined {
  if (!text.startsWith("{")) return undefined;
  try {
    return JSON.parse(text) as Record<string, unknown>;
  } catch {
    return undefined;
  }
}
