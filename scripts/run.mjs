/**
 * `node scripts/run.mjs FILE [arguments]` runs FILE (TypeScript) on the project's own Node.js. It first installs the dependencies
 * if they are missing or differ from the lockfile. `npm run demo`, `npm test`, `npm run check` and others call it.
 * Plain JavaScript without dependencies, so that any Node.js from 20 on runs it on a fresh clone.
 */
import { spawn, spawnSync } from "node:child_process";
import { existsSync, readFileSync } from "node:fs";
import { constants } from "node:os";
import { delimiter, dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

const oldestNode = 20;
const root = dirname(dirname(fileURLToPath(import.meta.url)));
const bin = join(root, "node_modules", ".bin");
const projectNode = join(root, "node_modules", "node", "bin", "node");

const plans = {
  "demo/src/main.ts":
    "the demo: a RabbitMQ and six services on this machine, and their story; Ctrl-C stops and removes all of it",
  "chaos/src/main.ts":
    "the system under load and faults; a ledger outside of it records what was accepted and its effects",
  "bench/src/main.ts":
    "the benchmarks of docs/scaling.md; the figures are valid only if nothing else runs on this machine",
  "packages/contracts/definitions.ts":
    "the generator of the broker's definitions and the permissions in docs/security.md",
  "scripts/test.ts": "the tests that this machine can run, with one summary at the end",
  "scripts/check.ts": "format, lint, types, imports, unused code, documents and manifests",
  "scripts/docs.ts": "the documents: copies the code that they show from its files",
  "scripts/kubernetes.ts": "the checks of the manifests in deploy/k8s",
  "scripts/planted.ts": "every check against a copy with planted violations, which it must report",
  "scripts/mutants.ts": "tests of docs/pitfalls.md without the measures that they are about, which must fail",
};

/** The terminal sends Ctrl-C to all processes, and a package manager forwards it again. A copy within this time is not a second Ctrl-C. */
const sameSignalMs = 200;

const [file, ...args] = process.argv.slice(2);
if (file === undefined) {
  end(2, "Usage: node scripts/run.mjs FILE [arguments]");
}
if (Number.parseInt(process.versions.node, 10) < oldestNode) {
  end(1, `Node.js ${process.versions.node} is too old: install ${oldestNode} or newer (see https://nodejs.org).`);
}
const isInstalled = dependenciesAreCurrent();
console.log(`${isInstalled ? "Running" : "Installing dependencies, then running"} ${plans[file] ?? file}.`);
if (!isInstalled) {
  await install();
}
assertProjectNode();
await runFile();

/** pnpm writes a copy of the lockfile when it has installed everything. */
function dependenciesAreCurrent() {
  const lockfile = readFileSync(join(root, "pnpm-lock.yaml"), "utf8");
  const installed = join(root, "node_modules", ".pnpm", "lock.yaml");
  if (!existsSync(projectNode) || !existsSync(installed) || readFileSync(installed, "utf8") !== lockfile) {
    return false;
  }
  const [, importers] = lockfile.split(/^(?:importers|packages):$/m);
  const workspaces = importers.matchAll(/^ {2}([^ ]+):$/gm);
  return [...workspaces].every(([, workspace]) => existsSync(join(root, workspace, "node_modules")));
}

async function install() {
  const { packageManager } = JSON.parse(readFileSync(join(root, "package.json"), "utf8"));
  const command = ["-y", packageManager, "install", "--frozen-lockfile", "--reporter=append-only"];
  // CI: pnpm asks no questions. NODE_ENV: "production" would leave out the tools.
  const env = { ...process.env, CI: "true", NODE_ENV: "development" };
  // A process group of its own, since npx does not forward signals
  const child = spawn("npx", command, { cwd: root, env, detached: true, stdio: ["ignore", "pipe", "pipe"] });
  const output = [];
  const showProgress = progressLine();
  for (const stream of [child.stdout, child.stderr]) {
    stream.setEncoding("utf8").on("data", (text) => {
      output.push(text);
      showProgress(text);
    });
  }
  const { code, signal } = await ended(child, (name) => process.kill(-child.pid, name));
  showProgress(null);
  if (signal !== null || code > 128) {
    end(exitCode(code, signal), "Installing dependencies was interrupted.");
  }
  if (code !== 0 || !dependenciesAreCurrent()) {
    console.error(output.join("").trimEnd().split("\n").slice(-25).join("\n"));
    end(
      1,
      `Installing dependencies failed; the reason is above. The command was: npx ${command.slice(0, 4).join(" ")}`,
    );
  }
}

/** Shortens pnpm's output: one line that is rewritten on a terminal, otherwise a line every five seconds. */
function progressLine() {
  const isTerminal = process.stdout.isTTY;
  let shownAt = Date.now();
  return (text) => {
    if (text === null) {
      process.stdout.write(isTerminal ? "\r\x1b[K" : "");
      return;
    }
    const progress = text.match(/Progress: .*/g)?.at(-1);
    if (progress && isTerminal) {
      process.stdout.write(`\r\x1b[K  ${progress.slice(0, process.stdout.columns - 4)}`);
    } else if (progress && Date.now() - shownAt > 5_000) {
      shownAt = Date.now();
      console.log(`  ${progress}`);
    }
  };
}

/** If the install script of the package `node` did not run, `node` would silently be the system's. */
function assertProjectNode() {
  const { version } = JSON.parse(readFileSync(join(root, "node_modules", "node", "package.json"), "utf8"));
  const found = spawnSync(projectNode, ["--version"], { encoding: "utf8" }).stdout?.trim();
  if (found !== `v${version}`) {
    end(
      1,
      `node_modules/node should be Node.js ${version}, but is ${found ?? "none"}. Delete node_modules and run this again.`,
    );
  }
}

async function runFile() {
  const env = { ...process.env, PATH: `${bin}${delimiter}${process.env.PATH ?? ""}` };
  // A session of its own, so that it gets every signal once, from here, whether a terminal, npm or a process manager sent it
  const child = spawn(projectNode, [file, ...args], { cwd: root, env, detached: true, stdio: "inherit" });
  const { code, signal } = await ended(child, (name) => child.kill(name));
  if (signal !== null) {
    console.error(`${file} was ended by ${signal}.`);
  }
  process.exitCode = exitCode(code, signal);
}

/** Resolves when the child has ended. Until then, `forward` gets each signal that this process gets, without the copies. */
async function ended(child, forward) {
  const lastAt = new Map();
  const listener = (name) => {
    const now = performance.now();
    const isCopy = now - (lastAt.get(name) ?? -Infinity) < sameSignalMs;
    lastAt.set(name, now);
    if (!isCopy) {
      // The terminal was closed: the child must still end
      forward(name === "SIGHUP" ? "SIGTERM" : name);
    }
  };
  const names = ["SIGINT", "SIGTERM", "SIGHUP"];
  names.forEach((name) => process.on(name, listener));
  const result = await new Promise((resolve, reject) => {
    child.once("error", reject);
    child.once("close", (code, signal) => resolve({ code, signal }));
  });
  names.forEach((name) => process.off(name, listener));
  return result;
}

function exitCode(code, signal) {
  return signal === null ? code : 128 + constants.signals[signal];
}

function end(code, message) {
  console.error(message);
  process.exit(code);
}
