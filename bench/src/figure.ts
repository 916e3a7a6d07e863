import type { RabbitMq } from "@amqp-idioms/local-servers";

export interface Figure {
  what: string;
  unit: string;
  kit: number;
  /** The same in plain amqplib, where there is such a thing */
  amqplib?: number;
}

export interface BenchServers {
  broker: Pick<RabbitMq, "url" | "managementUrl" | "version">;
  /** Without one, the outbox is not measured */
  postgresUrl: string | undefined;
}
