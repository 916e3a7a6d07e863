export { type AmqpFrame, amqpMethods } from "./amqp-frames.ts";
export { handshake } from "./amqp-handshake.ts";
export { freePorts } from "./free-ports.ts";
export * from "./management.ts";
export * from "./postgres.ts";
export { privateFolder, type PrivateFolder } from "./private-process.ts";
export * from "./proxy.ts";
export {
  type RabbitMq,
  type RabbitMqSource,
  rabbitMqSources,
  startRabbitMq,
  type StartRabbitMqOptions,
} from "./rabbitmq.ts";
export * from "./rabbitmq-cluster.ts";
export * from "./service-process.ts";
export type { SharedBroker } from "./shared-servers.ts";
export * from "./virtual-host.ts";
