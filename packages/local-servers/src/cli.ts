#!/usr/bin/env node
/**
 * The command `local-servers`: starts a RabbitMQ and a PostgreSQL for the development of a service, prints their addresses as
 * lines for a shell, and keeps them running until Ctrl-C.
 */
import { startPostgres } from "./postgres/start.ts";
import { startRabbitMq } from "./rabbitmq/start.ts";

const started: { close(): Promise<void> }[] = [];
let isStopping = false;

process.on("SIGINT", stop).on("SIGTERM", stop);
try {
  const broker = await startRabbitMq({ from: ["container", "machine", "apt"], log: console.error });
  started.push(broker);
  console.log(`export AMQP_URL=${broker.url}`);
  console.log(`export RABBITMQ_MANAGEMENT_URL=${broker.managementUrl}`);
  const { server, reason } = await startPostgres({ from: ["container", "machine"], log: console.error });
  if (server === undefined) {
    console.error(`No PostgreSQL: the services use embedded databases. ${reason}`);
  } else {
    started.push(server);
    console.log(`export DATABASE_URL=${server.url}`);
  }
  console.error("Ctrl-C stops and removes them.");
  // Keeps this process running: containers are children of Docker, not of this process.
  setInterval(() => undefined, 2 ** 31 - 1);
} catch (error) {
  console.error(error instanceof Error ? error.message : error);
  process.exitCode = 1;
  stop();
}

/** The watchdog ends servers that are still starting; after a second Ctrl-C it ends all of them. */
function stop(): void {
  if (isStopping) process.exit(130);
  isStopping = true;
  void Promise.all(started.map((server) => server.close())).finally(() => process.exit());
}
