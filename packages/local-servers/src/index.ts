// Servers
export * from "./rabbitmq/broker.ts";
export { startRabbitMq, type StartRabbitMqOptions } from "./rabbitmq/start.ts";
export * from "./rabbitmq/cluster.ts";
export * from "./rabbitmq/virtual-host.ts";
export * from "./rabbitmq/management.ts";
export * from "./rabbitmq/management-answers.ts";
export { handshake } from "./rabbitmq/handshake.ts";
export * from "./postgres/server.ts";
export * from "./postgres/start.ts";
export { createDatabase, type Database, postgresVersion } from "./postgres/database.ts";

// Processes
export * from "./processes/service-process.ts";
export { freePorts } from "./processes/free-ports.ts";
export { privateFolder, type PrivateFolder } from "./processes/private-process.ts";

// Faults
export * from "./faults/proxy.ts";
export type { CutHow, Direction, FrameFilter, Link, Verdict } from "./faults/link.ts";
export { type AmqpFrame, amqpMethods } from "./faults/amqp-frames.ts";
