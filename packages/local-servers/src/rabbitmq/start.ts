import { installRabbitMq, whyNoApt } from "./apt.ts";
import { type RabbitMq, type RabbitMqSource, rabbitMqSources } from "./broker.ts";
import { brokerPorts, type MakeTls, rabbitMqImage, randomCredentials } from "./config.ts";
import { createRabbitMqNode, findRabbitMq } from "./machine.ts";
import { useNamed } from "./named.ts";
import { OwnedRabbitMq } from "./owned.ts";

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
    const containers = await import("../processes/container.ts");
    const missing = await containers.whyNoContainers();
    if (missing !== undefined) return missing;
    const { createRabbitMqContainer } = await import("./container.ts");
    const image = rabbitMqImage();
    if (!(await containers.hasImage(image))) log(`Fetching the image ${image}, this once`);
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
