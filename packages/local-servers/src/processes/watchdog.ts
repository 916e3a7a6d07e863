import { type ChildProcess, spawn } from "node:child_process";
import { extname } from "node:path";
import { fileURLToPath } from "node:url";

/** What must not outlive this process. */
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
 * Has something removed should this process end without having done so itself, even by `kill -9`: a small child notices
 * that the pipe from here has closed, and does it.
 * @returns to be called when it has been removed in good order
 */
export function guard(duty: Duty): () => void {
  lastId += 1;
  const id = lastId;
  open.add(id);
  watchdog ??= startWatchdog();
  tell(watchdog, { id, duty });
  return () => {
    if (!open.delete(id) || watchdog === undefined) return;
    tell(watchdog, { id, done: true });
    if (open.size === 0) {
      watchdog.stdin?.end();
      watchdog = undefined;
    }
  };
}

function startWatchdog(): ChildProcess {
  const main = fileURLToPath(new URL(`./watchdog-main${extname(import.meta.url)}`, import.meta.url));
  // Detached: Ctrl-C in a terminal is not for it
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

function tell(child: ChildProcess, order: WatchdogOrder): void {
  child.stdin?.write(`${JSON.stringify(order)}\n`);
}
