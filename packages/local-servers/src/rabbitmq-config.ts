export interface Credentials {
  user: string;
  password: string;
}

/** On 127.0.0.1 */
export interface BrokerPorts {
  amqp: number;
  management: number;
}

/** Lines of rabbitmq.conf, wherever it runs. */
export function rabbitMqConfig({ user, password }: Credentials): string[] {
  return [
    `default_user = ${user}`,
    `default_pass = ${password}`,
    // What the management API shows is at most this old, in ms
    "collect_statistics_interval = 1000",
  ];
}
