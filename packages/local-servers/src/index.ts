export { handshake } from "./amqp-handshake.ts";
export * from "./management.ts";
export * from "./rabbitmq.ts";
export * from "./virtual-host.ts";
