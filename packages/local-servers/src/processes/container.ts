import { randomBytes } from "node:crypto";
import { once } from "node:events";
import { createServer } from "node:net";
import { type ContainerRuntimeClient, GenericContainer, getContainerRuntimeClient, Wait } from "testcontainers";
import type { ServerEngine } from "./server-engine.ts";
import { guard } from "./watchdog.ts";

type DockerContainer = ReturnType<ContainerRuntimeClient["container"]["getById"]>;

export interface ContainerOptions {
  image: string;
  /** Port in the container → port on this machine, published on 127.0.0.1. Fixed, so that a restart changes no address */
  ports: Record<number, number>;
  environment?: Record<string, string>;
  /** Instead of the image's own arguments. @default those of the image */
  command?: string[];
  /** Path in the container → content, with its mode unless all users may read it */
  files?: Record<string, string | { content: string; mode: number }>;
  /** RabbitMQ names its data folder after it. @default "local-servers" */
  hostname?: string;
  /** The id of a network from `createNetwork`, in which other containers find this one by its host name. Published ports are not part of it */
  network?: string;
  /** The line that it prints at the end of its first start */
  startedMessage: RegExp;
}

/** Publishes ports on 127.0.0.1 only, for which testcontainers has no option, and reports the container's id before the start. */
class LocalContainer extends GenericContainer {
  onCreated: (id: string) => Promise<void> | void = () => {};

  protected override async beforeContainerCreated(): Promise<void> {
    if ((await containerHost()) !== "127.0.0.1") return;
    const bindings: Record<string, { HostPort?: string; HostIp?: string }[]> = this.hostConfig.PortBindings ?? {};
    for (const binding of Object.values(bindings).flat()) binding.HostIp = "127.0.0.1";
  }

  protected override async containerCreated(id: string): Promise<void> {
    await this.onCreated(id);
  }
}

/** @returns why this machine cannot start containers, or undefined when a Docker engine answers */
export async function whyNoContainers(): Promise<string | undefined> {
  try {
    await getContainerRuntimeClient();
    return undefined;
  } catch {
    return "no Docker engine answers";
  }
}

/**
 * Finds the address at which the published ports of containers are reached. If this process runs in a container, testcontainers assumes
 * that the gateway of the Docker network is the engine's host. It is an address of this machine if the engine runs here or shares our network.
 */
export async function containerHost(): Promise<string> {
  const { host } = (await getContainerRuntimeClient()).info.containerRuntime;
  return host === "localhost" || (await isOurs(host)) ? "127.0.0.1" : host;
}

/** Tries to listen, which works on own addresses only. Node.js does not list idle interfaces, such as Docker's without a container. */
async function isOurs(host: string): Promise<boolean> {
  const server = createServer().listen(0, host);
  try {
    await once(server, "listening");
    return true;
  } catch {
    return false;
  } finally {
    server.close();
  }
}

/** A server in a container: created by testcontainers, then controlled through the Docker engine's own API. */
export class ContainerEngine implements ServerEngine {
  /** Where the published ports are reached: localhost, except with a remote Docker engine */
  readonly host: string;
  readonly #client: ContainerRuntimeClient;
  readonly #container: DockerContainer;
  readonly #options: ContainerOptions;
  readonly #release: () => void;

  /** Creates the container and starts it for the first time. */
  static async create(options: ContainerOptions): Promise<ContainerEngine> {
    const client = await getContainerRuntimeClient();
    const host = await containerHost();
    const ports = Object.entries(options.ports).map(([container, host]) => ({ container: Number(container), host }));
    const files = Object.entries(options.files ?? {}).map(([target, file]) => ({
      target,
      ...(typeof file === "string" ? { content: file } : file),
    }));
    const container = new LocalContainer(options.image)
      .withExposedPorts(...ports)
      .withEnvironment(options.environment ?? {})
      .withCopyContentToContainer(files)
      .withHostname(options.hostname ?? "local-servers")
      .withLabels({ "local-servers.started-by": String(process.pid) })
      .withWaitStrategy(Wait.forLogMessage(options.startedMessage))
      .withStartupTimeout(180_000)
      // Our watchdog removes it: the one of testcontainers keeps running for ten seconds after the end
      .withAutoCleanup(false);
    if (options.command !== undefined) container.withCommand(options.command);
    let created: ContainerEngine | undefined;
    container.onCreated = async (id) => {
      created = new ContainerEngine(client, id, host, options);
      await created.join();
    };
    try {
      await container.start();
    } catch (error) {
      const output = await created?.lastOutput().catch(() => "");
      await created?.remove();
      throw new Error(
        `The container of ${options.image} did not print ${options.startedMessage} within 180 s, or ended. Its last lines:\n${output ?? ""}`,
        { cause: error },
      );
    }
    if (created === undefined) throw new Error(`testcontainers started ${options.image} without reporting its id`);
    return created;
  }

  private constructor(client: ContainerRuntimeClient, id: string, host: string, options: ContainerOptions) {
    this.#client = client;
    this.#options = options;
    this.#container = client.container.getById(id);
    this.#release = guard({ container: id });
    this.host = host;
  }

  async start(): Promise<void> {
    await this.#container.start();
  }

  async stop(): Promise<void> {
    await this.#container.stop({ t: 30 });
  }

  async kill(): Promise<void> {
    const ended = this.#container.wait();
    await this.#container.kill({ signal: "SIGKILL" });
    await ended;
  }

  async freeze(): Promise<void> {
    await this.#container.pause();
  }

  async thaw(): Promise<void> {
    await this.#container.unpause();
  }

  /** Connects it to its network, if it has one. */
  async join(): Promise<void> {
    const { network, hostname = "" } = this.#options;
    if (network === undefined) return;
    const EndpointConfig = { Aliases: [hostname] };
    await this.#client.container.dockerode
      .getNetwork(network)
      .connect({ Container: this.#container.id, EndpointConfig });
  }

  /** Disconnects it from its network like a pulled cable: no peer is notified. Its published ports still work. */
  async leave(): Promise<void> {
    const { network } = this.#options;
    if (network === undefined) return;
    await this.#client.container.dockerode.getNetwork(network).disconnect({ Container: this.#container.id });
  }

  async run(command: string, args: string[]): Promise<void> {
    const { exitCode, output } = await this.#client.container.exec(this.#container, [command, ...args]);
    if (exitCode !== 0) throw new Error(`${command} ${args.join(" ")} ended with ${exitCode}: ${output}`);
  }

  async isRunning(): Promise<boolean> {
    return (await this.#container.inspect()).State.Running;
  }

  async lastOutput(): Promise<string> {
    const output = await this.#container.logs({ stdout: true, stderr: true, tail: 20, follow: false });
    // Each chunk begins with a binary header of eight bytes
    return output.toString("utf8").replaceAll(/[^\x20-\x7e\n]/g, "");
  }

  async remove(): Promise<void> {
    await this.#container.remove({ force: true, v: true });
    this.#release();
  }
}

/** Creates a network between containers, without access to anything else. */
export async function createNetwork(): Promise<{ id: string; remove: () => Promise<void> }> {
  const { container } = await getContainerRuntimeClient();
  const Name = `local-servers-${randomBytes(6).toString("hex")}`;
  const network = await container.dockerode.createNetwork({ Name, Internal: true });
  const release = guard({ network: network.id });
  const remove = async (): Promise<void> => {
    await network.remove();
    release();
  };
  return { id: network.id, remove };
}

/** Whether the image is on this machine; if not, the caller can log that the start takes longer. */
export async function hasImage(image: string): Promise<boolean> {
  const client = await getContainerRuntimeClient();
  try {
    await client.container.dockerode.getImage(image).inspect();
    return true;
  } catch {
    return false;
  }
}
