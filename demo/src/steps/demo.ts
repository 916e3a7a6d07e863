import type { RabbitMq } from "@amqp-idioms/local-servers";
import type { Processes, RunningService } from "../processes.ts";

/** What a step works with. */
export interface Demo {
  broker: RabbitMq;
  processes: Processes;
  services: Services;
  /** Aborts when the step or the demo ends */
  signal: AbortSignal;
  /** Prints a line of the step's output. */
  print: (line: string) => void;
}

/** The services that run from step to step. A step that restarts one replaces it here. */
export interface Services {
  display: RunningService;
  api: RunningService;
  registry: RunningService;
  scheduling: RunningService;
  reporting: RunningService;
}
