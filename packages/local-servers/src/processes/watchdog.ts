import { type ChildProcess, spawn } from "node:child_process";
import { extname } from "node:path";
import { fileURLToPath } from "node:url";

/** A thing that must not outlive this process. */
export type Duty =
  | { pid: number }
  | { folder: string }
  | { mount: string }
  | { container: string }
  | { network: string };

export type WatchdogOrder = { id: number; duty: Duty } | { id: number; done: true };

let watchdog: ChildProcess | undefined;
let lastId = 0;
const open = new Set<number>();

/**
 * Makes sure that a thing is removed when this process ends without removing it, even by `kill -9`: a small child process notices
 * that the pipe from this process has closed, and removes it.
 * @returns a function to call when the thing has been removed
 */
export function guard(duty: Duty): () => void {
  lastId += 1;
  const id = lastId;
  open.add(id);
  watchdog ??= startWatchdog();
  send(watchdog, { id, duty });
  return () => {
    if (!open.delete(id) || watchdog === undefined) return;
    send(watchdog, { id, done: true });
    if (open.size === 0) {
      watchdog.stdin?.end();
      watchdog = undefined;
    }
  };
}

function startWatchdog(): ChildProcess {
  const main = fileURLToPath(new URL(`./watchdog-main${extname(import.meta.url)}`, import.meta.url));
  // Detached, so that Ctrl-C in a terminal does not reach it
  const child = spawn(process.execPath, [main], {
    stdio: ["pipe", "ignore", "inherit"],
    detached: true,
    env: process.env,
  });
  child.unref();
  child.stdin.on("error", () => {});
  if ("unref" in child.stdin && typeof child.stdin.unref === "function") child.stdin.unref();
  return child;
}

function send(child: ChildProcess, order: WatchdogOrder): void {
  child.stdin?.write(`${JSON.stringify(order)}\n`);
}
