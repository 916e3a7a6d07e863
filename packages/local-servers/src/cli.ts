#!/usr/bin/env node
/**
 * `local-servers`: starts a RabbitMQ and a PostgreSQL for developing one service, prints where they are as lines for a
 * shell, and holds them until Ctrl-C.
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
    console.error(`No PostgreSQL: the services keep their data in embedded databases. ${reason}`);
  } else {
    started.push(server);
    console.log(`export DATABASE_URL=${server.url}`);
  }
  console.error("Ctrl-C stops and removes them.");
  // Containers are processes of Docker: nothing else keeps this one here.
  setInterval(() => undefined, 2 ** 31 - 1);
} catch (error) {
  console.error(error instanceof Error ? error.message : error);
  process.exitCode = 1;
  stop();
}

/** What is still being started is ended by the watchdog; a second Ctrl-C leaves all to it. */
function stop(): void {
  if (isStopping) process.exit(130);
  isStopping = true;
  void Promise.all(started.map((server) => server.close())).finally(() => process.exit());
}
