export type Environment = Readonly<Record<string, string | undefined>>;

/** The folder that contains a folder for each container. */
export const secretsFolder = ({ SECRETS_DIR }: Environment): string => SECRETS_DIR ?? "/secrets";

/** The URLs of the broker's nodes for the services, such as `amqp://rabbitmq`, separated by commas; `amqps:` with TLS. */
export function brokers({ BROKERS }: Environment): URL[] {
  return (BROKERS ?? "amqp://rabbitmq").split(",").map((url) => new URL(url));
}
