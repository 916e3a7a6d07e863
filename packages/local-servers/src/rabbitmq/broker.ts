/** The one that `AMQP_URL` names, a container, the RabbitMQ installed on this machine, or the same after installing it. */
export type RabbitMqSource = "named" | "container" | "machine" | "apt";

export const rabbitMqSources: readonly RabbitMqSource[] = ["named", "container", "machine", "apt"];

export interface RabbitMq extends AsyncDisposable {
  /** `amqp://user:password@host:port` of virtual host "/"; the same throughout, whatever is done to the broker */
  readonly url: string;
  /** `amqps://user:password@host:port`; undefined for one that was started without `tls` */
  readonly tlsUrl: string | undefined;
  /** `http://user:password@host:port`; undefined for a named broker whose management API does not answer */
  readonly managementUrl: string | undefined;
  readonly source: RabbitMqSource;
  readonly version: string;
  /** False for a named one: it can be used, but not stopped, killed or frozen */
  readonly isOwned: boolean;
  /** The packages that apt had to install for it */
  readonly installed: readonly string[];
  /** Resolves when clients can connect; does nothing when it runs. */
  start(): Promise<void>;
  /** In good order, as an operator does. */
  stop(): Promise<void>;
  restart(): Promise<void>;
  /** `kill -9`: it stays down until `start()`. */
  kill(): Promise<void>;
  /** It answers nobody, and its sockets stay open. */
  freeze(): Promise<void>;
  thaw(): Promise<void>;
  /** Has the broker believe that memory is short: it blocks every connection that publishes. */
  raiseMemoryAlarm(): Promise<void>;
  clearMemoryAlarm(): Promise<void>;
  /** How long a delivery may stay unacknowledged on channels that are opened from now on, until it stops; up to RabbitMQ 4.2. */
  setConsumerTimeout(timeoutMs: number): Promise<void>;
  /** Has the broker believe that its disk is full: the same consequence. */
  raiseDiskAlarm(): Promise<void>;
  clearDiskAlarm(): Promise<void>;
  /** By rabbitmqctl, also a queue that is exclusive to its connection: those 4.x keeps from its management API. */
  deleteQueue(vhost: string, queue: string): Promise<void>;
  /** Ends it at once and removes every trace; a named one stays as it is. */
  close(): Promise<void>;
}

/** The broker of a whole test run: many tests use it at once, so that nobody may stop it. */
export type SharedBroker = Pick<RabbitMq, "url" | "managementUrl" | "source" | "version" | "isOwned">;
