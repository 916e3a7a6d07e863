import { mkdir } from "node:fs/promises";
import { fileURLToPath } from "node:url";
import { type Proxy, type RabbitMq, type ServiceProcess, startProcess, startProxy } from "@amqp-idioms/local-servers";
import { Wire } from "./wire.ts";

/** The services as they run in the demo: real processes, each behind a proxy that reads along. */

export type ServiceName =
  | "score-producer"
  | "score-display"
  | "add-patient-api"
  | "patient-registry"
  | "scheduling"
  | "reporting";

const withDatabase: readonly ServiceName[] = ["patient-registry", "scheduling", "reporting"];
/** Less than the 5 s in which Ctrl-C stops everything. */
const stopTimeoutMs = 3_000;

export class Player {
  readonly name: string;
  readonly process: ServiceProcess;
  readonly wire: Wire;
  readonly proxy: Proxy;

  constructor(name: string, process: ServiceProcess, proxy: Proxy, wire: Wire) {
    this.name = name;
    this.process = process;
    this.proxy = proxy;
    this.wire = wire;
  }

  get url(): string {
    return this.process.url;
  }

  async stop(): Promise<void> {
    await this.process.stop({ timeoutMs: stopTimeoutMs + 500 }).catch(() => this.process.kill());
    await this.proxy.close();
  }
}

export class Cast {
  readonly #broker: RabbitMq;
  readonly #dataFolder: string;
  readonly #playing = new Set<Player>();
  #isClosed = false;

  /** @param dataFolder  for the embedded databases; it outlives each single process */
  constructor(broker: RabbitMq, dataFolder: string) {
    this.#broker = broker;
    this.#dataFolder = dataFolder;
  }

  get playing(): readonly Player[] {
    return [...this.#playing];
  }

  /** Starts a service as its README says, and resolves when it says that it is ready. */
  async start(service: ServiceName, options: { name?: string; args?: readonly string[] } = {}): Promise<Player> {
    const { name = service, args = [] } = options;
    const wire = new Wire();
    const proxy = await startProxy(this.#broker.url);
    proxy.filter(wire.filter);
    const process = await startProcess({
      name,
      main: fileURLToPath(new URL(`../../services/${service}/src/main.ts`, import.meta.url)),
      args,
      env: {
        AMQP_URL: proxy.url,
        PORT: "0",
        STOP_TIMEOUT_MS: String(stopTimeoutMs),
        ...(withDatabase.includes(service) && (await this.#database())),
      },
    });
    const player = new Player(name, process, proxy, wire);
    if (this.#isClosed) await player.stop();
    this.#playing.add(player);
    return player;
  }

  async stop(player: Player): Promise<void> {
    this.#playing.delete(player);
    await player.stop();
  }

  async close(): Promise<void> {
    this.#isClosed = true;
    await Promise.all(this.playing.map((player) => this.stop(player)));
  }

  async #database(): Promise<Record<string, string>> {
    const url = process.env["DATABASE_URL"];
    if (url !== undefined && url !== "") return { DATABASE_URL: url };
    await mkdir(this.#dataFolder, { recursive: true });
    return { DATA_DIR: this.#dataFolder };
  }
}
