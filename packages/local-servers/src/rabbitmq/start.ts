import { installRabbitMq, whyNoApt } from "./apt.ts";
import { type RabbitMq, type RabbitMqSource, rabbitMqSources } from "./broker.ts";
import { brokerPorts, type MakeTls, rabbitMqImage, randomCredentials } from "./config.ts";
import { createRabbitMqNode, findRabbitMq } from "./machine.ts";
import { useNamed } from "./named.ts";
import { OwnedRabbitMq } from "./owned.ts";

export interface StartRabbitMqOptions {
  /** The sources to try, in this order. @default `rabbitMqSources` */
  from?: readonly RabbitMqSource[];
  /** Called with a line before each step that takes long. @default no log */
  log?: (line: string) => void;
  /** The environment with `AMQP_URL`, `RABBITMQ_MANAGEMENT_URL` and `RABBITMQ_FROM`. @default process.env */
  env?: NodeJS.ProcessEnv;
  /** Makes the broker accept TLS as well, with the certificate that this returns for the broker's host name. Ignored for a named broker. @default no TLS */
  tls?: MakeTls;
}

/**
 * Starts a real RabbitMQ, or uses a named one: the first source that works. `RABBITMQ_FROM=container` allows this source only.
 * @throws Error that lists all sources, why each failed, and the commands that make them work
 * @example
 * await using broker = await startRabbitMq({ log: console.error });
 * await using vhost = await createVirtualHost(broker);
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
      // A named broker that fails must not be replaced by another
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
    "No RabbitMQ is available. Tried:",
    ...reasons.map((reason) => `  - ${reason}`),
    "Do one of these:",
    "  1. name a running one:        export AMQP_URL=amqp://user:password@host:5672",
    "  2. start a Docker engine:     sudo apt-get install -y docker.io && sudo systemctl start docker   (or Docker Desktop)",
    "  3. install RabbitMQ:          sudo apt-get install -y rabbitmq-server   (macOS: brew install rabbitmq)",
    "  4. on Debian or Ubuntu, run as root, which installs RabbitMQ:   sudo npm run demo",
  ].join("\n");
}

/** Each returns a broker, or the reason why this source has none. */
const ways: Record<
  RabbitMqSource,
  (env: NodeJS.ProcessEnv, log: (line: string) => void, tls: MakeTls | undefined) => Promise<RabbitMq | string>
> = {
  named: useNamed,
  async container(_env, log, tls) {
    const containers = await import("../processes/container.ts");
    const missing = await containers.whyNoContainers();
    if (missing !== undefined) return missing;
    const { createRabbitMqContainer } = await import("./container.ts");
    const image = rabbitMqImage();
    if (!(await containers.hasImage(image))) log(`Downloading the image ${image}; this happens once`);
    log(`Starting RabbitMQ in a container (${image})`);
    const ports = await brokerPorts(tls);
    const credentials = randomCredentials();
    const engine = await createRabbitMqContainer(image, ports, credentials, {
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
      ? "apt installed it, but its scripts were not found"
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
