import { mkdir } from "node:fs/promises";
import { fileURLToPath } from "node:url";
import { type Proxy, type RabbitMq, type ServiceProcess, startProcess, startProxy } from "@amqp-idioms/local-servers";
import { Wire } from "./wire.ts";

/** The services as processes, each connected to the broker through a proxy that records its messages. */

export type ServiceName =
  | "score-producer"
  | "score-display"
  | "add-patient-api"
  | "patient-registry"
  | "scheduling"
  | "reporting";

const withDatabase: readonly ServiceName[] = ["patient-registry", "scheduling", "reporting"];
/** Less than the 5 s within which Ctrl-C stops everything. */
const stopTimeoutMs = 3_000;

export class RunningService {
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

export class Processes {
  readonly #broker: RabbitMq;
  readonly #dataFolder: string;
  readonly #running = new Set<RunningService>();
  #isClosed = false;

  /** @param dataFolder  for the embedded databases, which outlive each single process */
  constructor(broker: RabbitMq, dataFolder: string) {
    this.#broker = broker;
    this.#dataFolder = dataFolder;
  }

  get running(): readonly RunningService[] {
    return [...this.#running];
  }

  /** Starts a service as its README shows, and resolves when its log says that it is ready. */
  async start(
    service: ServiceName,
    options: { name?: string; args?: readonly string[] } = {},
  ): Promise<RunningService> {
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
        ...(withDatabase.includes(service) && (await this.#databaseSettings())),
      },
    });
    const started = new RunningService(name, process, proxy, wire);
    if (this.#isClosed) await started.stop();
    this.#running.add(started);
    return started;
  }

  async stop(service: RunningService): Promise<void> {
    this.#running.delete(service);
    await service.stop();
  }

  async close(): Promise<void> {
    this.#isClosed = true;
    await Promise.all(this.running.map((service) => this.stop(service)));
  }

  async #databaseSettings(): Promise<Record<string, string>> {
    const url = process.env["DATABASE_URL"];
    if (url !== undefined && url !== "") return { DATABASE_URL: url };
    await mkdir(this.#dataFolder, { recursive: true });
    return { DATA_DIR: this.#dataFolder };
  }
}
