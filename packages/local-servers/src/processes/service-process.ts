import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { basename } from "node:path";
import { createInterface } from "node:readline";
import type { Readable } from "node:stream";
import { guard } from "./watchdog.ts";
import { within } from "./within.ts";

export interface StartProcessOptions {
  /** Path of a TypeScript or JavaScript file, run by the Node.js that runs this. Either this or `command` */
  main?: string;
  /** A program; nothing is interpreted by a shell */
  command?: string;
  args?: readonly string[];
  /** The process gets these, and PATH, HOME, LANG, TMPDIR and NODE_COMPILE_CACHE of this process; nothing else of its environment */
  env?: Readonly<Record<string, string | undefined>>;
  cwd?: string;
  /** For messages. @default the file's name */
  name?: string;
  /** Whether to wait for the JSON line with `"msg":"ready"`. @default true with `main`, else false */
  waitForReady?: boolean;
  /** @default 30000 */
  readyTimeoutMs?: number;
}

/** How long what has ended is read on. */
const outputTimeoutMs = 5_000;

/** A line of stdout or stderr; `json` is what it says if it is a JSON object, as the services' log lines are. */
export interface OutputLine {
  stream: "stdout" | "stderr";
  text: string;
  json: Readonly<Record<string, unknown>> | undefined;
}

export interface Exit {
  code: number | null;
  signal: NodeJS.Signals | null;
  /** From the signal (or, when it ended by itself, from its start) to its end */
  ms: number;
}

export interface ServiceProcess extends AsyncDisposable {
  readonly name: string;
  readonly pid: number;
  /** From the ready line; 0 before it, and when that names none */
  readonly port: number;
  /** `http://127.0.0.1:port` */
  readonly url: string;
  readonly lines: readonly OutputLine[];
  readonly isRunning: boolean;
  readonly exited: Promise<Exit>;
  /** Calls back for each line from now on. @returns to stop that */
  onLine(listener: (line: OutputLine) => void): () => void;
  /** Writes to its stdin. */
  write(text: string): void;
  /** Closes its stdin. */
  endInput(): void;
  /** SIGTERM, or the signal given; resolves when it has ended. @throws Error when it has not within `timeoutMs` (20 s) */
  stop(options?: { signal?: NodeJS.Signals; timeoutMs?: number }): Promise<Exit>;
  /** `kill -9` */
  kill(): Promise<Exit>;
  signal(signal: NodeJS.Signals): void;
  /** SIGSTOP: it holds its sockets and does nothing. */
  freeze(): void;
  thaw(): void;
  /** Ends it at once if it still runs. */
  close(): Promise<void>;
}

/**
 * Starts a service as a user does, and resolves when it says that it is ready.
 * @throws Error with its last lines when it ends before that, or is not ready in time
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
    // A session of its own: Ctrl-C in a terminal is for us alone, and we tell it
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
      // "close" comes when all output has been read, which a child of its own may keep open
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
    const look = ({ json }: OutputLine): void => {
      if (json?.["msg"] !== "ready") return;
      if (typeof json["port"] === "number") this.port = json["port"];
      resolve();
    };
    const off = this.onLine(look);
    this.lines.forEach(look);
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
