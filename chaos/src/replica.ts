import { setTimeout as sleep } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import {
  type Exit,
  freePorts,
  type Link,
  type OutputLine,
  type Proxy,
  type ServiceProcess,
  startProcess,
  startProxy,
} from "@amqp-idioms/local-servers";
import { monotonicMs } from "./clock.ts";
import { get } from "./http.ts";
import type { Probe } from "./observe.ts";

export type ServiceName =
  | "score-producer"
  | "score-display"
  | "add-patient-api"
  | "patient-registry"
  | "scheduling"
  | "reporting";

export interface ReplicaOptions {
  name: string;
  service: ServiceName;
  args: readonly string[];
  /** Each URL gets its own proxy */
  amqpUrls: readonly string[];
  /** A URL gets its own proxy; a folder is passed to the service */
  database: { url: string } | { dataDir: string } | undefined;
  probe: Probe;
  mutant: string | undefined;
}

/** One process of a replica, from start to exit. */
interface Life {
  readonly process: ServiceProcess;
  /** The run ends this process: any exit code is accepted, and the replica does not restart it */
  isEnding: boolean;
}

const stopTimeoutMs = 8_000;
const restartPauseMs = 200;
/** Two missed heartbeats, 10 s, end a connection */
const heartbeatSeconds = 5;

function preload(file: string): string[] {
  return ["--import", fileURLToPath(new URL(`./preload/${file}`, import.meta.url))];
}

/** A service as an orchestrator runs it: on a fixed port and restarted when it exits. Each of its connections goes through a proxy. */
export class Replica {
  readonly name: string;
  readonly service: ServiceName;
  readonly url: string;
  /** One proxy in front of each node of the broker */
  readonly amqp: readonly Proxy[];
  /** Undefined with an embedded database, or without a database */
  readonly database: Proxy | undefined;
  readonly probe: Probe;
  /** Exits that no fault caused */
  readonly unexpectedExits: { at: number; exit: Exit; lastLines: string[] }[] = [];
  readonly #options: ReplicaOptions;
  readonly #port: number;
  readonly #listeners: ((line: OutputLine, life: number) => void)[] = [];
  #life: Life | undefined;
  #lives = 0;
  #isWanted = false;
  /** The next SIGKILL is the one that a fault ordered */
  #mayDie = false;

  static async create(options: ReplicaOptions): Promise<Replica> {
    const { database } = options;
    const amqp = await Promise.all(options.amqpUrls.map(startProxy));
    const databaseProxy = database !== undefined && "url" in database ? await startProxy(database.url) : undefined;
    const [port = 0] = await freePorts(1);
    return new Replica(options, amqp, databaseProxy, port);
  }

  private constructor(options: ReplicaOptions, amqp: readonly Proxy[], database: Proxy | undefined, port: number) {
    this.name = options.name;
    this.service = options.service;
    this.probe = options.probe;
    this.amqp = amqp;
    this.url = `http://127.0.0.1:${port}`;
    this.#options = options;
    this.database = database;
    this.#port = port;
  }

  /** How often the replica has been started */
  get lives(): number {
    return this.#lives;
  }

  /** The open connections to the broker */
  get links(): readonly Link[] {
    return this.amqp.flatMap(({ links }) => links);
  }

  get process(): ServiceProcess | undefined {
    return this.#life?.process;
  }

  /** Calls back for each line that any of its processes prints. */
  onLine(listener: (line: OutputLine, life: number) => void): void {
    this.#listeners.push(listener);
  }

  async start(): Promise<void> {
    this.#isWanted = true;
    const { service, name, args, database, probe, mutant } = this.#options;
    const main = fileURLToPath(new URL(`../../services/${service}/src/main.ts`, import.meta.url));
    const process = await startProcess({
      name,
      command: globalThis.process.execPath,
      args: [...(mutant === undefined ? [] : preload("mutate.ts")), ...preload("probe.ts"), main, ...args],
      waitForReady: false,
      env: {
        AMQP_URL: this.amqp.map(({ url }) => `${url}?heartbeat=${heartbeatSeconds}`).join(","),
        PORT: String(this.#port),
        STOP_TIMEOUT_MS: String(stopTimeoutMs),
        CHAOS_RECORDS: probe.recordsFile,
        CHAOS_ORDERS: probe.ordersFile,
        ...(mutant !== undefined && { CHAOS_MUTANT: mutant }),
        ...(this.database !== undefined && { DATABASE_URL: this.database.url }),
        ...(database !== undefined && "dataDir" in database && { DATA_DIR: database.dataDir }),
      },
    });
    this.#lives += 1;
    const life = { process, isEnding: false };
    const number = this.#lives;
    this.#life = life;
    process.onLine((line) => this.#listeners.forEach((listener) => listener(line, number)));
    void process.exited.then((exit) => this.#onExit(life, exit));
  }

  async #onExit(life: Life, exit: Exit): Promise<void> {
    if (life.isEnding) return;
    if (!this.#mayDie || exit.signal !== "SIGKILL") {
      const lastLines = life.process.lines.slice(-5).map(({ text }) => text);
      this.unexpectedExits.push({ at: monotonicMs(), exit, lastLines });
    }
    this.#mayDie = false;
    await sleep(restartPauseMs);
    if (this.#isWanted) await this.start();
  }

  /** Orders the probe to kill the process at a named point. Resolves when the process has been killed and restarted (true), or after `timeoutMs` (false). */
  async killAt(point: string, timeoutMs: number): Promise<boolean> {
    const { lives } = this;
    this.#mayDie = true;
    await this.probe.order({ killAt: point });
    for (const deadline = monotonicMs() + timeoutMs; this.#lives === lives; await sleep(20)) {
      if (monotonicMs() > deadline) break;
    }
    await this.probe.order({});
    this.#mayDie = false;
    return this.#lives > lives;
  }

  /** Sends SIGTERM and starts the replica again. @returns how the process exited */
  async restart(): Promise<Exit> {
    const exit = await this.#end((process) => process.stop({ timeoutMs: stopTimeoutMs + 4_000 }));
    await this.start();
    return exit;
  }

  /** Sends SIGKILL and starts the replica again. */
  async killAndStart(): Promise<void> {
    await this.#end((process) => process.kill());
    await this.start();
  }

  async stop(): Promise<void> {
    this.#isWanted = false;
    await this.#end((process) => process.stop({ timeoutMs: stopTimeoutMs + 4_000 }).catch(() => process.kill()));
  }

  async close(): Promise<void> {
    this.#isWanted = false;
    await this.#end((process) => process.kill());
    await Promise.all(this.amqp.map((proxy) => proxy.close()));
    await this.database?.close();
  }

  async #end(how: (process: ServiceProcess) => Promise<Exit>): Promise<Exit> {
    const life = this.#life;
    if (life === undefined) return { code: 0, signal: null, ms: 0 };
    life.isEnding = true;
    return how(life.process);
  }

  /** Whether `/readyz` answers 200 within a second. */
  async isReady(): Promise<boolean> {
    return get(`${this.url}/readyz`, 1_000).then(
      ({ status }) => status === 200,
      () => false,
    );
  }
}
