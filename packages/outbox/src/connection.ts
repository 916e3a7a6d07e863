import type { Dialect } from "kysely";

/** What PostgreSQL and the embedded database have in common below Kysely. */

/** One connection, used by one only: with LISTEN and with locks that live as long as it does. */
export interface Connection {
  /** The embedded database has one connection: what is set on it is set for everybody */
  readonly isShared: boolean;
  query<Row>(statement: string, parameters?: readonly unknown[]): Promise<Row[]>;
  /** Several statements. */
  run(script: string): Promise<void>;
  listen(channel: string, onNotification: () => void): Promise<void>;
  /** Aborts when the connection is lost, and its locks with it. */
  readonly lost: AbortSignal;
  close(): Promise<void>;
}

export interface Engine {
  readonly dialect: Dialect;
  /** @param signal  closes it, whatever it is at @throws Error when there is nobody to connect to */
  connect(signal?: AbortSignal): Promise<Connection>;
  /** Answers within a second, and never throws. */
  isReachable(): Promise<boolean>;
  close(): Promise<void>;
}
