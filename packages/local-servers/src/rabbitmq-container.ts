import { ContainerEngine } from "./container.ts";
import type { BrokerPorts, Credentials } from "./rabbitmq-config.ts";
import { rabbitMqConfig } from "./rabbitmq-config.ts";

export const rabbitMqImage = "rabbitmq:4.3-management";

/** RabbitMQ in a container, refusing what upstream's 4.3 refuses by default, whatever the image's build permits. */
export function createRabbitMqContainer(ports: BrokerPorts, credentials: Credentials): Promise<ContainerEngine> {
  const config = [...rabbitMqConfig(credentials), "deprecated_features.permit.transient_nonexcl_queues = false"];
  return ContainerEngine.create({
    image: rabbitMqImage,
    ports: { 5672: ports.amqp, 15672: ports.management },
    files: { "/etc/rabbitmq/conf.d/90-local-servers.conf": `${config.join("\n")}\n` },
    startedMessage: /Server startup complete/,
  });
}
