import type { RabbitMq } from "./rabbitmq.ts";

/** The broker of a whole test run: many tests use it at once, so that nobody may stop it. */
export type SharedBroker = Pick<RabbitMq, "url" | "managementUrl" | "source" | "version" | "isOwned">;

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
