export type Environment = Readonly<Record<string, string | undefined>>;

/** Where the files go: a folder for each container. */
export const secretsFolder = ({ SECRETS_DIR }: Environment): string => SECRETS_DIR ?? "/secrets";

/** The nodes of the broker as the services know them: `amqp://rabbitmq`, or several with commas between them; `amqps:` with TLS. */
export function brokers({ BROKERS }: Environment): URL[] {
  return (BROKERS ?? "amqp://rabbitmq").split(",").map((url) => new URL(url));
}
