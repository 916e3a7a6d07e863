import { globSync } from "node:fs";
import { access, chown, writeFile } from "node:fs/promises";
import { connect } from "node:net";
import { delimiter, dirname, join } from "node:path";
import { randomBytes } from "node:crypto";
import { once } from "node:events";
import { freePorts } from "../processes/free-ports.ts";
import {
  type Account,
  execute,
  lastLines,
  type PrivateFolder,
  PrivateProcess,
  privateFolder,
  unprivilegedAccount,
} from "../processes/private-process.ts";
import { type BrokerPorts, type BrokerTls, type Credentials, rabbitMqConfig, tlsConfig, tlsFiles } from "./config.ts";
import { retryUntil } from "../processes/retry-until.ts";
import type { ServerEngine } from "../processes/server-engine.ts";

/** The folders of the scripts themselves: the ones on PATH may be wrappers that only work for the system's own node. */
const scriptPlaces = [
  "/usr/lib/rabbitmq/lib/rabbitmq_server-*/sbin",
  "/opt/rabbitmq/sbin",
  "/opt/homebrew/opt/rabbitmq/sbin",
  "/usr/local/opt/rabbitmq/sbin",
];

/** @returns the folder of rabbitmq-server and its tools, or undefined when RabbitMQ is not installed */
export function findRabbitMq(): string | undefined {
  const onPath = (process.env["PATH"] ?? "")
    .split(delimiter)
    .filter((folder) => folder !== "" && folder !== "/usr/sbin");
  const [server] = [...scriptPlaces, ...onPath].flatMap((place) =>
    globSync(join(place, "rabbitmq-server")).toSorted().toReversed(),
  );
  return server === undefined ? undefined : dirname(server);
}

/** Creates a private node of the RabbitMQ installed on this machine, with its own folder, cookie, ports and epmd, all on 127.0.0.1. */
export async function createRabbitMqNode(
  scripts: string,
  ports: BrokerPorts,
  credentials: Credentials,
  tls: BrokerTls | undefined,
): Promise<ServerEngine> {
  const account = await unprivilegedAccount("rabbitmq");
  const folder = await privateFolder("rabbitmq", account);
  try {
    const env = await prepareFolder(folder.path, ports, credentials, tls, account);
    return new NodeEngine(scripts, env, account, folder);
  } catch (error) {
    await folder.remove();
    throw error;
  }
}

async function prepareFolder(
  folder: string,
  ports: BrokerPorts,
  credentials: Credentials,
  tls: BrokerTls | undefined,
  account: Account,
): Promise<Record<string, string>> {
  const config = [
    ...rabbitMqConfig(credentials),
    `listeners.tcp.1 = 127.0.0.1:${ports.amqp}`,
    "management.tcp.ip = 127.0.0.1",
    `management.tcp.port = ${ports.management}`,
    ...(tls === undefined ? [] : [`listeners.ssl.1 = 127.0.0.1:${ports.amqps}`, ...tlsConfig(folder, tls)]),
  ];
  const files: Record<string, string> = {
    "rabbitmq.conf": `${config.join("\n")}\n`,
    enabled_plugins: "[rabbitmq_management].\n",
    ".erlang.cookie": randomBytes(20).toString("hex"),
    "output.log": "",
    ...(tls && tlsFiles(tls)),
  };
  for (const [name, content] of Object.entries(files)) {
    const file = join(folder, name);
    await writeFile(file, content, { mode: name === ".erlang.cookie" ? 0o400 : 0o600 });
    if (account !== undefined) await chown(file, account.uid, account.gid);
  }
  const [epmdPort = 0, distributionPort = 0, toolPort = 0] = await freePorts(3);
  const onLoopback = "-kernel inet_dist_use_interface {127,0,0,1}";
  return {
    PATH: "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin:/opt/homebrew/bin",
    LANG: "C.UTF-8",
    HOME: folder,
    ERL_EPMD_PORT: String(epmdPort),
    ERL_EPMD_ADDRESS: "127.0.0.1",
    RABBITMQ_NODENAME: `local-${randomBytes(4).toString("hex")}@localhost`,
    RABBITMQ_DIST_PORT: String(distributionPort),
    RABBITMQ_CTL_DIST_PORT_MIN: String(toolPort),
    RABBITMQ_CTL_DIST_PORT_MAX: String(toolPort),
    RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS: `${onLoopback} -start_epmd false`,
    RABBITMQ_CTL_ERL_ARGS: onLoopback,
    RABBITMQ_CONF_ENV_FILE: join(folder, "none"),
    RABBITMQ_CONFIG_FILE: join(folder, "rabbitmq.conf"),
    RABBITMQ_CONFIG_FILES: join(folder, "conf.d"),
    RABBITMQ_ADVANCED_CONFIG_FILE: join(folder, "advanced.config"),
    RABBITMQ_GENERATED_CONFIG_DIR: join(folder, "generated"),
    RABBITMQ_ENABLED_PLUGINS_FILE: join(folder, "enabled_plugins"),
    RABBITMQ_MNESIA_BASE: join(folder, "data"),
    RABBITMQ_LOG_BASE: join(folder, "log"),
    RABBITMQ_LOGS: "-",
    RABBITMQ_PID_FILE: join(folder, "pid"),
    // With this the script becomes the Erlang process, instead of waiting for it and translating signals
    RUNNING_UNDER_SYSTEMD: "true",
  };
}

class NodeEngine implements ServerEngine {
  #node: PrivateProcess | undefined;
  #epmd: PrivateProcess | undefined;
  readonly #scripts: string;
  readonly #env: Record<string, string>;
  readonly #account: Account;
  readonly #folder: PrivateFolder;

  constructor(scripts: string, env: Record<string, string>, account: Account, folder: PrivateFolder) {
    this.#scripts = scripts;
    this.#env = env;
    this.#account = account;
    this.#folder = folder;
  }

  async start(): Promise<void> {
    if (!this.#epmd?.isRunning) await this.#startEpmd();
    this.#node = await this.#startProcess(join(this.#scripts, "rabbitmq-server"), []);
  }

  /** Starts epmd in the foreground: one that Erlang starts by itself would never end. */
  async #startEpmd(): Promise<void> {
    const port = this.#env["ERL_EPMD_PORT"] ?? "";
    this.#epmd = await this.#startProcess(await findEpmd(), ["-port", port, "-address", "127.0.0.1"]);
    await retryUntil("epmd, the directory of Erlang nodes, accepts connections", () => connects(Number(port)), {
      timeoutMs: 20_000,
    });
  }

  #startProcess(command: string, args: string[]): Promise<PrivateProcess> {
    return PrivateProcess.start(command, args, {
      account: this.#account,
      cwd: this.#folder.path,
      env: this.#env,
      output: join(this.#folder.path, "output.log"),
    });
  }

  async stop(): Promise<void> {
    await this.#node?.end("SIGTERM");
  }

  async kill(): Promise<void> {
    await this.#node?.end("SIGKILL");
  }

  async freeze(): Promise<void> {
    this.#node?.signal("SIGSTOP");
  }

  async thaw(): Promise<void> {
    this.#node?.signal("SIGCONT");
  }

  async run(command: string, args: string[]): Promise<void> {
    const options = { ...this.#account, cwd: this.#folder.path, env: this.#env };
    await execute(join(this.#scripts, command), ["--node", this.#env["RABBITMQ_NODENAME"] ?? "", ...args], options);
  }

  async isRunning(): Promise<boolean> {
    return this.#node?.isRunning === true;
  }

  lastOutput(): Promise<string> {
    return lastLines(join(this.#folder.path, "output.log"));
  }

  async remove(): Promise<void> {
    await this.#node?.end("SIGKILL");
    await this.#epmd?.end("SIGKILL");
    await this.#folder.remove();
  }
}

/** Finds epmd, which may be in the folder of the Erlang runtime and not on PATH. */
async function findEpmd(): Promise<string> {
  const places = ["/usr/bin/epmd", "/usr/local/bin/epmd", "/opt/homebrew/bin/epmd"];
  for (const place of [...places, ...globSync("{/usr/lib/erlang,/usr/local/lib/erlang,/opt/erlang}/erts-*/bin/epmd")]) {
    if (
      await access(place).then(
        () => true,
        () => false,
      )
    )
      return place;
  }
  return "epmd";
}

async function connects(port: number): Promise<void> {
  const socket = connect(port, "127.0.0.1");
  await once(socket, "connect");
  socket.destroy();
}
