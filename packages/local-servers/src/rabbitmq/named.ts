import type { RabbitMq } from "./broker.ts";
import { handshake } from "./handshake.ts";
import { Management } from "./management.ts";

export async function useNamed(env: NodeJS.ProcessEnv, log: (line: string) => void): Promise<RabbitMq | string> {
  // A password may hold a comma, so the list is split only where a URL's scheme follows
  const url = env["AMQP_URL"]?.split(/,(?=\s*amqps?:\/\/)/)[0]?.trim();
  if (url === undefined || url === "") return "AMQP_URL is not set";
  if (!URL.canParse(url))
    throw new Error("AMQP_URL is not a URL. Set it to one like amqp://user:password@host:5672/virtual-host.");
  const { host, hostname, username, password } = new URL(url);
  log(`Using the RabbitMQ that AMQP_URL names, at ${host}`);
  const { version } = await handshake(url, 10_000).catch((error: unknown) => {
    throw new Error(
      `The RabbitMQ at ${host} (AMQP_URL) does not answer. Check that it runs and that the credentials are correct.`,
      {
        cause: error,
      },
    );
  });
  const managementUrl = env["RABBITMQ_MANAGEMENT_URL"] || `http://${username}:${password}@${hostname}:15672`;
  const hasManagement = await new Management(managementUrl).version().then(
    () => true,
    () => false,
  );
  const refuse = (): Promise<never> =>
    Promise.reject(
      new Error(
        `The RabbitMQ at ${host} (AMQP_URL) is not owned by this process. It can be used, but not started, stopped, killed or frozen.`,
      ),
    );
  return {
    url,
    tlsUrl: undefined,
    managementUrl: hasManagement ? managementUrl : undefined,
    source: "named",
    version,
    isOwned: false,
    installed: [],
    start: refuse,
    stop: refuse,
    restart: refuse,
    kill: refuse,
    freeze: refuse,
    thaw: refuse,
    raiseMemoryAlarm: refuse,
    setConsumerTimeout: refuse,
    clearMemoryAlarm: refuse,
    raiseDiskAlarm: refuse,
    clearDiskAlarm: refuse,
    deleteQueue: refuse,
    close: async () => {},
    [Symbol.asyncDispose]: async () => {},
  };
}
