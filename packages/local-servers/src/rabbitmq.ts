import { randomBytes } from "node:crypto";
import { handshake } from "./amqp-handshake.ts";
import { freePorts } from "./free-ports.ts";
import { Management } from "./management.ts";
import type { BrokerPorts, BrokerTls, Credentials } from "./rabbitmq-config.ts";
import { installRabbitMq, whyNoApt } from "./rabbitmq-apt.ts";
import { createRabbitMqNode, findRabbitMq } from "./rabbitmq-machine.ts";
import { retryUntil } from "./retry-until.ts";
import type { ServerEngine } from "./server-engine.ts";

/** The one that `AMQP_URL` names, a container, the RabbitMQ installed on this machine, or the same after installing it. */
export type RabbitMqSource = "named" | "container" | "machine" | "apt";

export const rabbitMqSources: readonly RabbitMqSource[] = ["named", "container", "machine", "apt"];

export interface RabbitMq extends AsyncDisposable {
  /** `amqp://user:password@host:port` of virtual host "/"; the same throughout, whatever is done to the broker */
  readonly url: string;
  /** `amqps://user:password@host:port`; undefined for one that was started without `tls` */
  readonly tlsUrl: string | undefined;
  /** `http://user:password@host:port`; undefined for a named broker whose management API does not answer */
  readonly managementUrl: string | undefined;
  readonly source: RabbitMqSource;
  readonly version: string;
  /** False for a named one: it can be used, but not stopped, killed or frozen */
  readonly isOwned: boolean;
  /** The packages that apt had to install for it */
  readonly installed: readonly string[];
  /** Resolves when clients can connect; does nothing when it runs. */
  start(): Promise<void>;
  /** In good order, as an operator does. */
  stop(): Promise<void>;
  restart(): Promise<void>;
  /** `kill -9`: it stays down until `start()`. */
  kill(): Promise<void>;
  /** It answers nobody, and its sockets stay open. */
  freeze(): Promise<void>;
  thaw(): Promise<void>;
  /** Has the broker believe that memory is short: it blocks every connection that publishes. */
  raiseMemoryAlarm(): Promise<void>;
  clearMemoryAlarm(): Promise<void>;
  /** How long a delivery may stay unacknowledged on channels that are opened from now on, until it stops; up to RabbitMQ 4.2. */
  setConsumerTimeout(timeoutMs: number): Promise<void>;
  /** Has the broker believe that its disk is full: the same consequence. */
  raiseDiskAlarm(): Promise<void>;
  clearDiskAlarm(): Promise<void>;
  /** By rabbitmqctl, also a queue that is exclusive to its connection: those 4.x keeps from its management API. */
  deleteQueue(vhost: string, queue: string): Promise<void>;
  /** Ends it at once and removes every trace; a named one stays as it is. */
  close(): Promise<void>;
}

/** @param hostName  where clients will reach the broker: a name or an address */
export type MakeTls = (hostName: string) => Promise<BrokerTls>;

export interface StartRabbitMqOptions {
  /** Where to look, in this order. @default all four, as `rabbitMqSources` has them */
  from?: readonly RabbitMqSource[];
  /** Told of each step that takes long. @default nobody */
  log?: (line: string) => void;
  /** Where `AMQP_URL`, `RABBITMQ_MANAGEMENT_URL` and `RABBITMQ_FROM` are read. @default process.env */
  env?: NodeJS.ProcessEnv;
  /** Has the broker listen for TLS, too, with the certificate for the host name that it is asked for; a named one is as it is. @default without TLS */
  tls?: MakeTls;
}

/**
 * Gets a real RabbitMQ: the first that can be had. `RABBITMQ_FROM=container` (or another source) insists on one.
 * @throws Error that names all ways with the commands that would open them
 */
export async function startRabbitMq(options: StartRabbitMqOptions = {}): Promise<RabbitMq> {
  const { log = () => {}, env = process.env, tls } = options;
  const wanted = sourceFromEnvironment(env);
  const sources = wanted === undefined ? (options.from ?? rabbitMqSources) : [wanted];
  const reasons: string[] = [];
  for (const source of sources) {
    try {
      const result = await ways[source](env, log, tls);
      if (typeof result !== "string") return result;
      reasons.push(`${source}: ${result}`);
    } catch (error) {
      // A broker that somebody named and that fails is not to be replaced by another
      if (source === "named") throw error;
      const reason = error instanceof Error ? error.message : String(error);
      log(`RabbitMQ from ${source} failed: ${reason}`);
      reasons.push(`${source}: ${reason}`);
    }
  }
  throw new Error(noBroker(reasons));
}

function sourceFromEnvironment(env: NodeJS.ProcessEnv): RabbitMqSource | undefined {
  const wanted = env["RABBITMQ_FROM"];
  if (wanted === undefined || wanted === "") return undefined;
  const source = rabbitMqSources.find((name) => name === wanted);
  if (source === undefined)
    throw new Error(`RABBITMQ_FROM is "${wanted}", but must be one of ${rabbitMqSources.join(", ")}.`);
  return source;
}

function noBroker(reasons: string[]): string {
  return [
    "No RabbitMQ can be had here. Tried:",
    ...reasons.map((reason) => `  - ${reason}`),
    "Any of these helps:",
    "  1. name a running one:        export AMQP_URL=amqp://user:password@host:5672",
    "  2. start a Docker engine:     sudo apt-get install -y docker.io && sudo systemctl start docker   (or Docker Desktop)",
    "  3. install RabbitMQ:          sudo apt-get install -y rabbitmq-server   (macOS: brew install rabbitmq)",
    "  4. on Debian or Ubuntu, run this as root, and RabbitMQ is installed for you:   sudo npm run demo",
  ].join("\n");
}

/** Each returns the broker, or the reason why there is none to be had this way. */
const ways: Record<
  RabbitMqSource,
  (env: NodeJS.ProcessEnv, log: (line: string) => void, tls: MakeTls | undefined) => Promise<RabbitMq | string>
> = {
  named: useNamed,
  async container(_env, log, tls) {
    const containers = await import("./container.ts");
    const missing = await containers.whyNoContainers();
    if (missing !== undefined) return missing;
    const { createRabbitMqContainer, rabbitMqImage } = await import("./rabbitmq-container.ts");
    if (!(await containers.hasImage(rabbitMqImage))) log(`Fetching the image ${rabbitMqImage}, this once`);
    log(`Starting RabbitMQ in a container (${rabbitMqImage})`);
    const ports = await brokerPorts(tls);
    const credentials = randomCredentials();
    const engine = await createRabbitMqContainer(ports, credentials, {
      tls: await tls?.(await containers.containerHost()),
    });
    return OwnedRabbitMq.start({ engine, host: engine.host, ports, credentials, source: "container", installed: [] });
  },
  async machine(_env, log, tls) {
    const scripts = findRabbitMq();
    return scripts === undefined
      ? "RabbitMQ is not installed on this machine"
      : startNode(scripts, "machine", [], tls, log);
  },
  async apt(_env, log, tls) {
    const missing = await whyNoApt();
    if (missing !== undefined) return missing;
    const installed = await installRabbitMq(log);
    const scripts = findRabbitMq();
    return scripts === undefined
      ? "apt installed it, but it is not where it should be"
      : startNode(scripts, "apt", installed, tls, log);
  },
};

async function startNode(
  scripts: string,
  source: "machine" | "apt",
  installed: string[],
  tls: MakeTls | undefined,
  log: (line: string) => void,
): Promise<RabbitMq> {
  log(`Starting a private RabbitMQ node on this machine (${scripts})`);
  const ports = await brokerPorts(tls);
  const credentials = randomCredentials();
  const host = "127.0.0.1";
  const engine = await createRabbitMqNode(scripts, ports, credentials, await tls?.(host));
  return OwnedRabbitMq.start({ engine, host, ports, credentials, source, installed });
}

export async function brokerPorts(tls?: MakeTls): Promise<BrokerPorts> {
  const [amqp = 0, management = 0, amqps] = await freePorts(tls === undefined ? 2 : 3);
  return { amqp, management, amqps };
}

export function randomCredentials(): Credentials {
  return { user: `local-${randomBytes(3).toString("hex")}`, password: randomBytes(12).toString("hex") };
}

export interface Owned {
  engine: ServerEngine;
  host: string;
  ports: BrokerPorts;
  credentials: Credentials;
  source: RabbitMqSource;
  installed: string[];
}

export class OwnedRabbitMq implements RabbitMq {
  readonly url: string;
  readonly tlsUrl: string | undefined;
  readonly managementUrl: string;
  readonly source: RabbitMqSource;
  readonly installed: readonly string[];
  readonly isOwned = true;
  #version = "";
  readonly #engine: ServerEngine;
  #isFrozen = false;
  #isMemoryShort = false;
  #isDiskShort = false;
  #isClosed = false;

  static async start(owned: Owned): Promise<OwnedRabbitMq> {
    const broker = new OwnedRabbitMq(owned);
    try {
      await broker.start();
      return broker;
    } catch (error) {
      await broker.close();
      throw error;
    }
  }

  protected constructor({ engine, host, ports, credentials, source, installed }: Owned) {
    const authority = `${credentials.user}:${credentials.password}@${host}`;
    this.url = `amqp://${authority}:${ports.amqp}`;
    this.tlsUrl = ports.amqps === undefined ? undefined : `amqps://${authority}:${ports.amqps}`;
    this.managementUrl = `http://${authority}:${ports.management}`;
    this.source = source;
    this.installed = installed;
    this.#engine = engine;
  }

  get version(): string {
    return this.#version;
  }

  async start(): Promise<void> {
    if (!(await this.#engine.isRunning())) await this.#engine.start();
    const management = new Management(this.managementUrl);
    const giveUp = async (): Promise<string | undefined> =>
      (await this.#engine.isRunning())
        ? undefined
        : `it ended by itself. Its last lines:\n${await this.#engine.lastOutput()}`;
    const ready = { timeoutMs: 120_000, giveUp };
    const answer = await retryUntil("RabbitMQ's start", () => handshake(this.url, 5_000), ready);
    await retryUntil("RabbitMQ's management API", () => management.version(), ready);
    this.#version = answer.version;
  }

  async stop(): Promise<void> {
    await this.thaw();
    if (await this.#engine.isRunning()) await this.#engine.stop();
  }

  async restart(): Promise<void> {
    await this.stop();
    await this.start();
  }

  async kill(): Promise<void> {
    await this.thaw();
    if (await this.#engine.isRunning()) await this.#engine.kill();
  }

  async freeze(): Promise<void> {
    if (this.#isFrozen) return;
    await this.#engine.freeze();
    this.#isFrozen = true;
  }

  async thaw(): Promise<void> {
    if (!this.#isFrozen) return;
    await this.#engine.thaw();
    this.#isFrozen = false;
  }

  async raiseMemoryAlarm(): Promise<void> {
    await this.#engine.run("rabbitmqctl", ["set_vm_memory_high_watermark", "0"]);
    this.#isMemoryShort = true;
  }

  async clearMemoryAlarm(): Promise<void> {
    if (!this.#isMemoryShort) return;
    await this.#engine.run("rabbitmqctl", ["set_vm_memory_high_watermark", "0.6"]);
    this.#isMemoryShort = false;
  }

  async setConsumerTimeout(timeoutMs: number): Promise<void> {
    // Channels look only once in a tick, which is a minute
    const settings = { consumer_timeout: timeoutMs, channel_tick_interval: Math.ceil(timeoutMs / 4) };
    const calls = Object.entries(settings).map(([key, value]) => `application:set_env(rabbit, ${key}, ${value})`);
    await this.#engine.run("rabbitmqctl", ["eval", `${calls.join(", ")}.`]);
  }

  async raiseDiskAlarm(): Promise<void> {
    await this.#engine.run("rabbitmqctl", ["set_disk_free_limit", "1000000000000000"]);
    this.#isDiskShort = true;
  }

  async clearDiskAlarm(): Promise<void> {
    if (!this.#isDiskShort) return;
    await this.#engine.run("rabbitmqctl", ["set_disk_free_limit", "50000000"]);
    this.#isDiskShort = false;
  }

  async deleteQueue(vhost: string, queue: string): Promise<void> {
    await this.#engine.run("rabbitmqctl", ["delete_queue", "--vhost", vhost, queue]);
  }

  async close(): Promise<void> {
    if (this.#isClosed) return;
    this.#isClosed = true;
    await this.thaw();
    await this.#engine.remove();
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }
}

async function useNamed(env: NodeJS.ProcessEnv, log: (line: string) => void): Promise<RabbitMq | string> {
  const url = env["AMQP_URL"]?.split(",")[0]?.trim();
  if (url === undefined || url === "") return "AMQP_URL is not set";
  if (!URL.canParse(url)) throw new Error("AMQP_URL is not a URL like amqp://user:password@host:5672/virtual-host.");
  const { host, hostname, username, password } = new URL(url);
  log(`Using the RabbitMQ that AMQP_URL names, at ${host}`);
  const { version } = await handshake(url, 10_000).catch((error: unknown) => {
    throw new Error(
      `The RabbitMQ at ${host}, which AMQP_URL names, does not answer. Is it running, are the credentials right?`,
      {
        cause: error,
      },
    );
  });
  const managementUrl = env["RABBITMQ_MANAGEMENT_URL"] || `http://${username}:${password}@${hostname}:15672`;
  const hasManagement = await new Management(managementUrl).version().then(
    () => true,
    () => false,
  );
  const refuse = (): Promise<never> =>
    Promise.reject(
      new Error(`The RabbitMQ at ${host} is yours (AMQP_URL): it is used, but not stopped, killed or frozen.`),
    );
  return {
    url,
    tlsUrl: undefined,
    managementUrl: hasManagement ? managementUrl : undefined,
    source: "named",
    version,
    isOwned: false,
    installed: [],
    start: refuse,
    stop: refuse,
    restart: refuse,
    kill: refuse,
    freeze: refuse,
    thaw: refuse,
    raiseMemoryAlarm: refuse,
    setConsumerTimeout: refuse,
    clearMemoryAlarm: refuse,
    raiseDiskAlarm: refuse,
    clearDiskAlarm: refuse,
    deleteQueue: refuse,
    close: async () => {},
    [Symbol.asyncDispose]: async () => {},
  };
}
