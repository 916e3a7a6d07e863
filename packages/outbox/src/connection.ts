import type { Dialect } from "kysely";

/** The interface below Kysely that PostgreSQL and the embedded database share. */

/** A connection with one user, for LISTEN and for locks that end with the connection. */
export interface Connection {
  /** True for the embedded database, which has one connection: a setting then applies to all users of the database */
  readonly isShared: boolean;
  query<Row>(statement: string, parameters?: readonly unknown[]): Promise<Row[]>;
  /** Runs several statements. */
  run(script: string): Promise<void>;
  listen(channel: string, onNotification: () => void): Promise<void>;
  /** Aborts when the connection is lost; its locks are lost as well. */
  readonly lost: AbortSignal;
  close(): Promise<void>;
}

export interface Engine {
  readonly dialect: Dialect;
  /** @param signal  closes the connection at any point @throws Error if the database cannot be reached */
  connect(signal?: AbortSignal): Promise<Connection>;
  /** Resolves within a second, and never rejects. */
  isReachable(): Promise<boolean>;
  close(): Promise<void>;
}
