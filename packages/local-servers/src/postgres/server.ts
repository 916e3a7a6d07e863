import type { SmallDisk } from "../faults/small-disk.ts";
import type { Database } from "./database.ts";

/** The one that `DATABASE_URL` names, a container, or the PostgreSQL installed on this machine as a private cluster. */
export type PostgresSource = "named" | "container" | "machine";

export const postgresSources: readonly PostgresSource[] = ["named", "container", "machine"];

export interface Postgres extends AsyncDisposable {
  /** `postgres://user:password@host:port/postgres`; the same throughout */
  readonly url: string;
  readonly source: PostgresSource;
  readonly isOwned: boolean;
  /** What its data is on, when `diskBytes` was asked for and could be had */
  readonly disk: SmallDisk | undefined;
  /** A new, empty database. */
  createDatabase(): Promise<Database>;
  start(): Promise<void>;
  stop(): Promise<void>;
  restart(): Promise<void>;
  /** `kill -9`: it stays down until `start()`. */
  kill(): Promise<void>;
  /** Ends it at once and removes every trace; a named one stays as it is. */
  close(): Promise<void>;
}
