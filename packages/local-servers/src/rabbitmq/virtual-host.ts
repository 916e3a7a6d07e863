import { randomBytes } from "node:crypto";
import { Management } from "./management.ts";

/** A private virtual host with a random name: no other client uses it, and its content is deleted with it. */
export interface VirtualHost extends AsyncDisposable {
  readonly name: string;
  /** For clients: the broker's URL with this virtual host */
  readonly url: string;
  readonly management: Management;
  /** Deletes it with its content, and disconnects its clients. */
  close(): Promise<void>;
}

/** Creates a virtual host. @throws Error if the broker's management API is unknown */
export async function createVirtualHost(
  broker: { url: string; managementUrl: string | undefined },
  options: { defaultQueueType?: "classic" | "quorum" | undefined } = {},
): Promise<VirtualHost> {
  if (broker.managementUrl === undefined) {
    throw new Error(
      "Creating a virtual host needs RabbitMQ's management API, which does not answer on port 15672 of AMQP_URL's host. " +
        "Enable it (rabbitmq-plugins enable rabbitmq_management), or set RABBITMQ_MANAGEMENT_URL=http://user:password@host:15672",
    );
  }
  const name = `test-${randomBytes(6).toString("hex")}`;
  const management = new Management(broker.managementUrl);
  await management.createVirtualHost(name, options);
  const url = new URL(broker.url);
  url.pathname = `/${name}`;
  const { username } = new URL(broker.managementUrl);
  await management.grant(decodeURIComponent(username), { vhost: name, configure: ".*", write: ".*", read: ".*" });
  const close = (): Promise<void> => management.deleteVirtualHost(name);
  return { name, url: url.href, management, close, [Symbol.asyncDispose]: close };
}
