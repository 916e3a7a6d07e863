import type { SharedBroker } from "../rabbitmq/broker.ts";

/** What the process that runs vitest tells its workers. */
export interface SharedServers {
  broker: SharedBroker;
  /** Either a URL or the reason why there is none */
  postgres: { url: string | undefined; reason: string | undefined };
}

declare module "vitest" {
  export interface ProvidedContext {
    localServersPort: number;
  }
}
