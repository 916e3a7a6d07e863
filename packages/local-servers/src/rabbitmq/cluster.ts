import { randomBytes } from "node:crypto";
import { type Closeable, closeAll } from "../processes/closing.ts";
import type { ContainerEngine } from "../processes/container.ts";
import { Management } from "./management.ts";
import type { RabbitMq } from "./broker.ts";
import { brokerPorts, rabbitMqImage, randomCredentials } from "./config.ts";
import { type Owned, OwnedRabbitMq } from "./owned.ts";
import { createVirtualHost, type VirtualHost } from "./virtual-host.ts";

/** One node of a cluster, at its own address, which never changes. */
export interface RabbitMqNode extends RabbitMq {
  /** Its host name inside the cluster; RabbitMQ's node name is `rabbit@<name>` */
  readonly name: string;
  /** True if it is neither down nor cut off */
  readonly isMember: boolean;
  /** Disconnects it from the other nodes like a pulled cable; clients can still connect to it. */
  cutOff(): Promise<void>;
  /** Reconnects it to the other nodes; does nothing if it is not cut off. */
  rejoin(): Promise<void>;
  /** Resolves when every quorum queue has a majority without this node, so that an operator can stop it. */
  awaitQuorumWithoutIt(): Promise<void>;
}

export interface ClusterVirtualHost extends VirtualHost {
  /** For clients: one URL per node */
  readonly urls: readonly string[];
}

export interface RabbitMqCluster extends AsyncDisposable {
  readonly nodes: readonly RabbitMqNode[];
  readonly version: string;
  /** The management API of a node that is a member at this moment */
  readonly management: Management;
  createVirtualHost(): Promise<ClusterVirtualHost>;
  /** Kills all nodes and removes all their files. */
  close(): Promise<void>;
}

const names = ["node-1", "node-2", "node-3"];

/** Lines of rabbitmq.conf, the same for all nodes. There is no partition strategy: with Khepri a minority stops by itself. */
const config = [
  "cluster_formation.peer_discovery_backend = classic_config",
  ...names.map((name, index) => `cluster_formation.classic_config.nodes.${index + 1} = rabbit@${name}`),
  "default_queue_type = quorum",
  // After this time the others consider a silent node as down; the default is 60 s
  "net_ticktime = 15",
];

/**
 * Starts three RabbitMQ nodes in containers as one cluster.
 * @param options.log  called with a line before each step that takes long. @default no log
 * @throws Error when no Docker engine answers
 */
export async function startRabbitMqCluster(options: { log?: (line: string) => void } = {}): Promise<RabbitMqCluster> {
  const { log = () => {} } = options;
  const containers = await import("../processes/container.ts");
  const missing = await containers.whyNoContainers();
  if (missing !== undefined) {
    throw new Error(
      `A RabbitMQ cluster needs containers, but ${missing}. Start a Docker engine: sudo systemctl start docker`,
    );
  }
  const { createRabbitMqContainer } = await import("./container.ts");
  const image = rabbitMqImage();
  if (!(await containers.hasImage(image))) log(`Downloading the image ${image}; this happens once`);
  log(`Starting three RabbitMQ nodes in containers (${image})`);
  const opened: Closeable[] = [];
  try {
    const network = await containers.createNetwork();
    opened.push(() => network.remove());
    const credentials = randomCredentials();
    const cookie = randomBytes(16).toString("hex");
    const startNode = async (hostname: string): Promise<ClusterNode> => {
      const ports = await brokerPorts();
      const membership = { hostname, network: network.id, cookie, config };
      const engine = await createRabbitMqContainer(image, ports, credentials, { membership });
      const node = new ClusterNode(hostname, engine, { ports, credentials });
      opened.push(node);
      await node.start();
      return node;
    };
    // At the same time, because the first node waits for the others
    const started = await Promise.allSettled(names.map(startNode));
    const failed = started.find((result) => result.status === "rejected");
    if (failed !== undefined) throw failed.reason;
    const nodes = started.flatMap((result) => (result.status === "fulfilled" ? [result.value] : []));
    return new Cluster(nodes, () => closeAll(opened));
  } catch (error) {
    await closeAll(opened);
    throw error;
  }
}

class ClusterNode extends OwnedRabbitMq implements RabbitMqNode {
  readonly name: string;
  readonly #engine: ContainerEngine;
  #isUp = false;
  #isCutOff = false;

  constructor(name: string, engine: ContainerEngine, { ports, credentials }: Pick<Owned, "ports" | "credentials">) {
    super({ engine, host: engine.host, ports, credentials, source: "container", installed: [] });
    this.name = name;
    this.#engine = engine;
  }

  get isMember(): boolean {
    return this.#isUp && !this.#isCutOff;
  }

  override async start(): Promise<void> {
    await super.start();
    this.#isUp = true;
  }

  override async stop(): Promise<void> {
    this.#isUp = false;
    await super.stop();
  }

  override async kill(): Promise<void> {
    this.#isUp = false;
    await super.kill();
  }

  async cutOff(): Promise<void> {
    if (this.#isCutOff) return;
    this.#isCutOff = true;
    await this.#engine.leave();
  }

  async rejoin(): Promise<void> {
    if (!this.#isCutOff) return;
    await this.#engine.join();
    this.#isCutOff = false;
  }

  async awaitQuorumWithoutIt(): Promise<void> {
    await this.#engine.run("rabbitmq-upgrade", ["await_online_quorum_plus_one", "-t", "60"]);
  }
}

class Cluster implements RabbitMqCluster {
  readonly nodes: readonly RabbitMqNode[];
  readonly #closeNodes: () => Promise<void>;
  #closed: Promise<void> | undefined;

  constructor(nodes: readonly RabbitMqNode[], closeNodes: () => Promise<void>) {
    this.nodes = nodes;
    this.#closeNodes = closeNodes;
  }

  get version(): string {
    return this.#member().version;
  }

  get management(): Management {
    return new Management(this.#member().managementUrl ?? "");
  }

  async createVirtualHost(): Promise<ClusterVirtualHost> {
    const { name, url } = await createVirtualHost(this.#member());
    const { pathname } = new URL(url);
    const urls = this.nodes.map((node) => new URL(pathname, node.url).href);
    const management = (): Management => this.management;
    const close = (): Promise<void> => management().deleteVirtualHost(name);
    return {
      name,
      url,
      urls,
      get management() {
        return management();
      },
      close,
      [Symbol.asyncDispose]: close,
    };
  }

  close(): Promise<void> {
    this.#closed ??= this.#closeNodes();
    return this.#closed;
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  #member(): RabbitMqNode {
    const member = this.nodes.find(({ isMember }) => isMember);
    if (member === undefined)
      throw new Error("No node of the cluster is a member at this moment. Start one, or call rejoin().");
    return member;
  }
}
