import type { RabbitMq } from "@amqp-idioms/local-servers";

export interface Figure {
  what: string;
  unit: string;
  kit: number;
  /** The same in plain amqplib, if amqplib can do it */
  amqplib?: number;
}

export interface BenchServers {
  broker: Pick<RabbitMq, "url" | "managementUrl" | "version">;
  /** Without it, the outbox is not measured */
  postgresUrl: string | undefined;
}
