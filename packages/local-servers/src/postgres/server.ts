import type { SmallDisk } from "../faults/small-disk.ts";
import type { Database } from "./database.ts";

/** Where a PostgreSQL comes from: `DATABASE_URL`, a container, or a private cluster of the PostgreSQL installed on this machine. */
export type PostgresSource = "named" | "container" | "machine";

export const postgresSources: readonly PostgresSource[] = ["named", "container", "machine"];

export interface Postgres extends AsyncDisposable {
  /** `postgres://user:password@host:port/postgres`; it never changes */
  readonly url: string;
  readonly source: PostgresSource;
  readonly isOwned: boolean;
  /** The disk of its data, if `diskBytes` was given and this machine allows it */
  readonly disk: SmallDisk | undefined;
  /** Creates an empty database. */
  createDatabase(): Promise<Database>;
  start(): Promise<void>;
  stop(): Promise<void>;
  restart(): Promise<void>;
  /** Sends `kill -9`; the server stays down until `start()`. */
  kill(): Promise<void>;
  /** Kills the server and removes all its files; does nothing to a named one. */
  close(): Promise<void>;
}
