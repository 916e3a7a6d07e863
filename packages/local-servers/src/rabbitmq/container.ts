import { ContainerEngine } from "../processes/container.ts";
import { type BrokerPorts, type BrokerTls, type Credentials, rabbitMqConfig, tlsConfig, tlsFiles } from "./config.ts";

const tlsFolder = "/etc/rabbitmq/tls";

/** The settings of a cluster's node */
export interface Membership {
  hostname: string;
  network: string;
  /** The same for all nodes */
  cookie: string;
  /** Lines of rabbitmq.conf, the same for all nodes */
  config: readonly string[];
}

/** Creates a RabbitMQ in a container. It refuses what RabbitMQ 4.3 refuses by default, even if the image is built otherwise. */
export function createRabbitMqContainer(
  image: string,
  ports: BrokerPorts,
  credentials: Credentials,
  { tls, membership }: { tls?: BrokerTls | undefined; membership?: Membership } = {},
): Promise<ContainerEngine> {
  const config = [
    ...rabbitMqConfig(credentials),
    "deprecated_features.permit.transient_nonexcl_queues = false",
    ...(tls === undefined ? [] : ["listeners.ssl.default = 5671", ...tlsConfig(tlsFolder, tls)]),
    ...(membership?.config ?? []),
  ];
  const files = Object.entries(tls === undefined ? {} : tlsFiles(tls));
  return ContainerEngine.create({
    image,
    ports: { 5672: ports.amqp, 15672: ports.management, ...(ports.amqps !== undefined && { 5671: ports.amqps }) },
    files: {
      "/etc/rabbitmq/conf.d/90-local-servers.conf": `${config.join("\n")}\n`,
      ...Object.fromEntries(files.map(([name, content]) => [`${tlsFolder}/${name}`, content])),
      ...(membership && { "/var/lib/rabbitmq/.erlang.cookie": { content: membership.cookie, mode: 0o400 } }),
    },
    startedMessage: /Server startup complete/,
    ...(membership && { hostname: membership.hostname, network: membership.network }),
  });
}
