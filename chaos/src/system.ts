import { join } from "node:path";
import {
  createVirtualHost,
  type Database,
  type Postgres,
  privateFolder,
  type RabbitMq,
  type RabbitMqCluster,
  startPostgres,
  startRabbitMq,
  startRabbitMqCluster,
  type VirtualHost,
} from "@amqp-idioms/local-servers";
import { within } from "./clock.ts";
import { Probe } from "./observe.ts";
import { Replica, type ServiceName } from "./replica.ts";

export interface SystemOptions {
  /** Nodes of the broker */
  nodes: 1 | 3;
  /** Runs one replica of each service on embedded databases, instead of two of each receiver on PostgreSQL */
  isEmbedded: boolean;
  mutant: string | undefined;
  log: (line: string) => void;
}

/** Small, so that it can be filled quickly. */
const diskBytes = 384 * 1024 * 1024;
const readyTimeoutMs = 90_000;
const replicas: readonly { service: ServiceName; count: number; args?: readonly string[] }[] = [
  { service: "patient-registry", count: 2 },
  { service: "scheduling", count: 2 },
  { service: "reporting", count: 2 },
  { service: "add-patient-api", count: 1 },
  { service: "score-display", count: 2 },
  { service: "score-producer", count: 1, args: ["--stdin"] },
];
const withDatabase: readonly ServiceName[] = ["patient-registry", "scheduling", "reporting"];

/** A broker for this run, and the virtual host that everything uses */
export interface Broker extends AsyncDisposable {
  readonly version: string;
  /** One node, or the nodes of the cluster */
  readonly nodes: readonly RabbitMq[];
  readonly cluster: RabbitMqCluster | undefined;
  readonly vhost: VirtualHost;
  /** One for each node */
  readonly urls: readonly string[];
}

/** All six services as processes, with a broker and a database for this run. */
export class System implements AsyncDisposable {
  readonly broker: Broker;
  readonly vhost: VirtualHost;
  /** Undefined with embedded databases */
  readonly postgres: Postgres | undefined;
  readonly database: Database | undefined;
  /** Has a folder for each embedded database */
  readonly dataFolder: string;
  readonly replicas: readonly Replica[];
  readonly #closing: AsyncDisposableStack;

  static async start({ nodes, isEmbedded, mutant, log }: SystemOptions): Promise<System> {
    await using closing = new AsyncDisposableStack();
    const folder = await privateFolder("chaos", undefined);
    closing.defer(() => folder.remove());
    const broker = closing.use(await (nodes === 3 ? ownCluster(log) : ownBroker(log)));
    const postgres = isEmbedded ? undefined : closing.use(await ownPostgres(log));
    const database = await postgres?.createDatabase();

    const started: Replica[] = [];
    closing.defer(async () => {
      await Promise.all(started.map((replica) => replica.close()));
    });
    log("Starting the services");
    for (const { service, count, args = [] } of replicas) {
      for (let number = 1; number <= (isEmbedded ? 1 : count); number += 1) {
        const name = `${service}-${number}`;
        const store = database === undefined ? { dataDir: join(folder.path, "data") } : { url: database.url };
        const replica = await Replica.create({
          name,
          service,
          args,
          amqpUrls: broker.urls,
          database: withDatabase.includes(service) ? store : undefined,
          probe: new Probe(folder.path, name, service),
          mutant,
        });
        started.push(replica);
        await replica.start();
      }
    }
    const isReady = await within(readyTimeoutMs, () => allReady(started));
    if (!isReady)
      throw new Error(`Some replicas were not ready within ${readyTimeoutMs / 1000} s.\n${lastLines(started)}`);
    return new System(broker, postgres, database, join(folder.path, "data"), started, closing.move());
  }

  private constructor(
    broker: Broker,
    postgres: Postgres | undefined,
    database: Database | undefined,
    dataFolder: string,
    replicas: readonly Replica[],
    closing: AsyncDisposableStack,
  ) {
    this.broker = broker;
    this.vhost = broker.vhost;
    this.postgres = postgres;
    this.database = database;
    this.dataFolder = dataFolder;
    this.replicas = replicas;
    this.#closing = closing;
  }

  of(...services: ServiceName[]): readonly Replica[] {
    return this.replicas.filter(({ service }) => services.includes(service));
  }

  isReady(): Promise<boolean> {
    return allReady(this.replicas);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#closing[Symbol.asyncDispose]();
  }
}

async function allReady(all: readonly Replica[]): Promise<boolean> {
  return (await Promise.all(all.map((replica) => replica.isReady()))).every(Boolean);
}

function lastLines(all: readonly Replica[]): string {
  return all
    .flatMap(({ name, process }) => (process?.lines ?? []).slice(-3).map(({ text }) => `${name}: ${text}`))
    .join("\n");
}

async function ownBroker(log: (line: string) => void): Promise<Broker> {
  await using closing = new AsyncDisposableStack();
  const from = ["container", "machine", "apt"] as const;
  const node = closing.use(await startRabbitMq({ from, env: environment(), log }));
  const vhost = closing.use(await createVirtualHost(node));
  const { version } = node;
  const all = closing.move();
  const dispose = (): Promise<void> => all.disposeAsync();
  return { version, nodes: [node], cluster: undefined, vhost, urls: [vhost.url], [Symbol.asyncDispose]: dispose };
}

async function ownCluster(log: (line: string) => void): Promise<Broker> {
  await using closing = new AsyncDisposableStack();
  const cluster = closing.use(await startRabbitMqCluster({ log }));
  const vhost = closing.use(await cluster.createVirtualHost());
  const { version, nodes } = cluster;
  const all = closing.move();
  const dispose = (): Promise<void> => all.disposeAsync();
  return { version, nodes, cluster, vhost, urls: vhost.urls, [Symbol.asyncDispose]: dispose };
}

async function ownPostgres(log: (line: string) => void): Promise<Postgres> {
  const { server, reason } = await startPostgres({
    from: ["machine", "container"],
    env: environment(),
    log,
    diskBytes,
  });
  if (server === undefined) throw new Error(`${reason}. Or use --embedded.`);
  return server;
}

/** Passes on only where to start servers from: faults must never strike a broker or database that the user names. */
function environment(): NodeJS.ProcessEnv {
  const { RABBITMQ_FROM, POSTGRES_FROM } = process.env;
  return { RABBITMQ_FROM, POSTGRES_FROM };
}
