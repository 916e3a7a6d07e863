export { runService } from "./service.ts";
export type { Service, ServiceDefinition, Started } from "./service.ts";

export { databaseSettings, secretVariable, timeZoneSetting, variable, wholeNumber } from "./settings.ts";
export type { DatabaseSettings, Setting } from "./settings.ts";

export { HttpProblem, problem } from "./problem.ts";
export type { InvalidField, ProblemOptions } from "./problem.ts";

export type { Logger } from "./logger.ts";
