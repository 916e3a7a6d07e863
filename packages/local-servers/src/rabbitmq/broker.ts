/** Where a RabbitMQ comes from: `AMQP_URL`, a container, the RabbitMQ installed on this machine, or the same after its installation by apt. */
export type RabbitMqSource = "named" | "container" | "machine" | "apt";

export const rabbitMqSources: readonly RabbitMqSource[] = ["named", "container", "machine", "apt"];

export interface RabbitMq extends AsyncDisposable {
  /** `amqp://user:password@host:port` of the virtual host "/"; it never changes, even after a restart */
  readonly url: string;
  /** `amqps://user:password@host:port`; undefined if it was started without `tls` */
  readonly tlsUrl: string | undefined;
  /** `http://user:password@host:port`; undefined for a named broker whose management API does not answer */
  readonly managementUrl: string | undefined;
  readonly source: RabbitMqSource;
  readonly version: string;
  /** False for a named broker: it can be used, but not stopped, killed or frozen */
  readonly isOwned: boolean;
  /** The packages that apt installed for it */
  readonly installed: readonly string[];
  /** Starts it unless it runs; resolves when clients can connect. */
  start(): Promise<void>;
  /** Stops it gracefully, as an operator does. */
  stop(): Promise<void>;
  restart(): Promise<void>;
  /** Sends `kill -9`; the broker stays down until `start()`. */
  kill(): Promise<void>;
  /** Suspends it: it does not answer, and its sockets stay open. */
  freeze(): Promise<void>;
  thaw(): Promise<void>;
  /** Raises the memory alarm: the broker blocks every connection that publishes. */
  raiseMemoryAlarm(): Promise<void>;
  clearMemoryAlarm(): Promise<void>;
  /** Sets how long a delivery may stay unacknowledged, for channels that open later, until the broker stops. Works up to RabbitMQ 4.2. */
  setConsumerTimeout(timeoutMs: number): Promise<void>;
  /** Raises the disk alarm, which blocks publishers in the same way. */
  raiseDiskAlarm(): Promise<void>;
  clearDiskAlarm(): Promise<void>;
  /** Deletes a queue by rabbitmqctl, even one that is exclusive to a connection, which the management API of 4.x does not show. */
  deleteQueue(vhost: string, queue: string): Promise<void>;
  /** Kills it and removes all its files; does nothing to a named broker. */
  close(): Promise<void>;
}

/** The broker of a whole test run. Many tests use it at the same time, so no test can stop it. */
export type SharedBroker = Pick<RabbitMq, "url" | "managementUrl" | "source" | "version" | "isOwned">;
