import { execFile } from "node:child_process";
import { randomInt } from "node:crypto";
import { once } from "node:events";
import { createServer } from "node:net";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";

const root = fileURLToPath(new URL("../../../", import.meta.url));
const run = promisify(execFile);
const portsOf = {
  ADD_PATIENT_API_PORTS: 4,
  SCORE_DISPLAY_PORTS: 6,
  SCHEDULING_PORTS: 6,
  REPORTING_PORTS: 6,
  AMQP_PORT: 1,
  RABBITMQ_MANAGEMENT_PORT: 1,
};

export interface Container {
  readonly name: string;
  readonly service: string;
  readonly pid: number;
  readonly exitCode: number;
  readonly restarts: number;
  readonly isHealthy: boolean;
}

/** The repository's compose files under a project name and ports of this test. */
export class ComposeProject implements AsyncDisposable {
  readonly name = `amqp-idioms-test-${process.pid}`;
  readonly #files: readonly string[];
  readonly #environment: Record<string, string>;

  private constructor(files: readonly string[], environment: Record<string, string>) {
    this.#files = files;
    this.#environment = environment;
  }

  static async create(files: readonly string[], environment: Record<string, string> = {}): Promise<ComposeProject> {
    const ports: Record<string, string> = {};
    for (const [variable, count] of Object.entries(portsOf)) ports[variable] = await portRange(count);
    return new ComposeProject(files, { ...ports, ...environment });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.compose("--profile", "tools", "down", "--volumes", "--timeout", "2");
  }

  /** @returns its output. @throws with its output if it fails */
  async compose(...args: string[]): Promise<string> {
    const files = this.#files.flatMap((file) => ["-f", file]);
    const { PATH, HOME } = process.env;
    const env = { PATH, HOME, DOCKER_HOST: process.env["DOCKER_HOST"], ...this.#environment };
    const options = { cwd: root, env, maxBuffer: 64 * 1024 * 1024 };
    const { stdout } = await run("docker", ["compose", "-p", this.name, "--ansi", "never", ...files, ...args], options);
    return stdout;
  }

  /** The containers of these services, or of all, including those that have exited. */
  async containers(...services: string[]): Promise<Container[]> {
    const ids = (await this.compose("ps", "--all", "--quiet", ...services)).split("\n").filter((id) => id !== "");
    if (ids.length === 0) return [];
    const all: Inspected[] = JSON.parse(await docker("inspect", ...ids));
    return all.map(({ Name, Config, State, RestartCount }) => ({
      name: Name.slice(1),
      service: Config.Labels["com.docker.compose.service"] ?? "",
      pid: State.Pid,
      exitCode: State.ExitCode,
      restarts: RestartCount,
      isHealthy: State.Health?.Status === "healthy",
    }));
  }

  /** The address under which a replica's HTTP port is published. */
  async url(service: string, index = 1): Promise<string> {
    const address = await this.compose("port", "--index", String(index), service, "3000");
    return `http://${address.trim()}`;
  }

  get managementUrl(): string {
    return `http://127.0.0.1:${this.#environment["RABBITMQ_MANAGEMENT_PORT"]}`;
  }

  /** Runs a statement in the schema of one service's database. @returns the rows */
  async query(service: string, statement: string): Promise<Record<string, unknown>[]> {
    const sql = `set search_path to "${service}"; select coalesce(json_agg(row_to_json(found)), '[]') from (${statement}) found`;
    const psql = ["psql", "-U", "postgres", "-d", service, "-qAtc", sql];
    return JSON.parse(await this.compose("exec", "-T", "postgres", ...psql), parseTimestamps);
  }
}

/** Turns timestamps into dates, as a PostgreSQL client does. */
function parseTimestamps(_key: string, value: unknown): unknown {
  return typeof value === "string" && /^\d{4}-\d\d-\d\dT/.test(value) ? new Date(value) : value;
}

interface Inspected {
  Name: string;
  Config: { Labels: Record<string, string> };
  State: { Pid: number; ExitCode: number; Health?: { Status: string } };
  RestartCount: number;
}

/** The changes that git finds in the working tree. */
export async function gitStatus(): Promise<string> {
  return (await run("git", ["status", "--porcelain"], { cwd: root })).stdout;
}

export async function docker(...args: string[]): Promise<string> {
  return (await run("docker", args, { maxBuffer: 64 * 1024 * 1024 })).stdout;
}

/** A range of free ports, such as "20000-20005". */
async function portRange(count: number): Promise<string> {
  for (;;) {
    const first = randomInt(15_000, 32_000);
    const servers = Array.from({ length: count }, (_, index) => createServer().listen(first + index, "127.0.0.1"));
    const areFree = await Promise.allSettled(servers.map((server) => once(server, "listening")));
    await Promise.all(servers.map((server) => new Promise((resolve) => server.close(resolve))));
    if (areFree.some(({ status }) => status === "rejected")) continue;
    return count === 1 ? String(first) : `${first}-${first + count - 1}`;
  }
}

/** @returns why compose cannot run on this machine, or undefined */
export async function whyComposeIsUnavailable(): Promise<string | undefined> {
  try {
    await docker("info");
    await docker("compose", "version");
    return undefined;
  } catch {
    return "no Docker engine with Compose answers";
  }
}
