import { globSync } from "node:fs";
import { chown, writeFile } from "node:fs/promises";
import { delimiter, dirname, join } from "node:path";
import {
  type Account,
  execute,
  lastLines,
  type PrivateFolder,
  PrivateProcess,
  privateFolder,
  unprivilegedAccount,
} from "../processes/private-process.ts";
import type { ServerEngine } from "../processes/server-engine.ts";
import { mountSmallDisk, type SmallDisk } from "../faults/small-disk.ts";

/** @returns the folder of initdb and postgres (the newest version), or undefined when PostgreSQL is not installed */
export function findPostgres(): string | undefined {
  const installed = globSync(["/usr/lib/postgresql/*/bin/initdb", "/opt/homebrew/opt/postgresql@*/bin/initdb"]);
  const [newest] = installed.toSorted((one, other) => versionIn(other) - versionIn(one));
  const onPath = (process.env["PATH"] ?? "").split(delimiter).flatMap((folder) => globSync(join(folder, "initdb")));
  const initdb = newest ?? onPath[0];
  return initdb === undefined ? undefined : dirname(initdb);
}

function versionIn(path: string): number {
  return Number(/(\d+)\/bin/.exec(path)?.[1] ?? 0);
}

/**
 * Creates a private cluster of the PostgreSQL installed on this machine: in its own folder, as an unprivileged user, on 127.0.0.1 only.
 * @param diskBytes  puts its data on a disk of that size. @default the disk of the folder
 */
export async function createPostgresCluster(
  programs: string,
  port: number,
  password: string,
  diskBytes?: number,
): Promise<ServerEngine & { disk: SmallDisk | undefined }> {
  const account = await unprivilegedAccount("postgres");
  const folder = await privateFolder("postgres", account);
  let disk: Awaited<ReturnType<typeof mountSmallDisk>> | undefined;
  const remove = async (): Promise<void> => {
    await disk?.unmount();
    await folder.remove();
  };
  try {
    if (diskBytes !== undefined) disk = await mountSmallDisk(folder.path, diskBytes, account);
    const passwordFile = join(folder.path, "password");
    await writeFile(passwordFile, password, { mode: 0o600 });
    if (account !== undefined) await chown(passwordFile, account.uid, account.gid);
    const options = ["--username=postgres", "--auth=scram-sha-256", `--pwfile=${passwordFile}`];
    const format = ["--encoding=UTF8", "--locale=C", "--no-sync"];
    await execute(join(programs, "initdb"), [`--pgdata=${join(folder.path, "data")}`, ...options, ...format], {
      ...account,
      cwd: folder.path,
      env: { PATH: process.env["PATH"], LANG: "C" },
    });
    return new ClusterEngine(programs, port, account, { path: folder.path, remove }, disk);
  } catch (error) {
    await remove();
    throw error;
  }
}

class ClusterEngine implements ServerEngine {
  readonly disk: SmallDisk | undefined;
  #process: PrivateProcess | undefined;
  readonly #programs: string;
  readonly #port: number;
  readonly #account: Account;
  readonly #folder: PrivateFolder;

  constructor(programs: string, port: number, account: Account, folder: PrivateFolder, disk: SmallDisk | undefined) {
    this.disk = disk;
    this.#programs = programs;
    this.#port = port;
    this.#account = account;
    this.#folder = folder;
  }

  async start(): Promise<void> {
    const settings = {
      port: this.#port,
      listen_addresses: "127.0.0.1",
      unix_socket_directories: "",
      max_connections: 200,
      // A killed server loses nothing without fsync; only a machine that loses its power does
      fsync: "off",
      // Without old log files, so that a small disk is not full from the start
      ...(this.disk !== undefined && { min_wal_size: "32MB", max_wal_size: "64MB" }),
    };
    const args = Object.entries(settings).flatMap(([name, value]) => ["-c", `${name}=${value}`]);
    this.#process = await PrivateProcess.start(
      join(this.#programs, "postgres"),
      ["-D", join(this.#folder.path, "data"), ...args],
      {
        account: this.#account,
        cwd: this.#folder.path,
        env: { PATH: process.env["PATH"], LANG: "C" },
        output: join(this.#folder.path, "output.log"),
      },
    );
  }

  /** PostgreSQL's "fast" shutdown: disconnects clients and writes everything. */
  async stop(): Promise<void> {
    await this.#process?.end("SIGINT");
  }

  async kill(): Promise<void> {
    await this.#process?.end("SIGKILL");
  }

  async freeze(): Promise<void> {
    this.#process?.signal("SIGSTOP");
  }

  async thaw(): Promise<void> {
    this.#process?.signal("SIGCONT");
  }

  async run(command: string, args: string[]): Promise<void> {
    await execute(join(this.#programs, command), args, { ...this.#account, cwd: this.#folder.path });
  }

  async isRunning(): Promise<boolean> {
    return this.#process?.isRunning === true;
  }

  lastOutput(): Promise<string> {
    return lastLines(join(this.#folder.path, "output.log"));
  }

  /** Sends SIGQUIT, which ends the server and its children immediately. */
  async remove(): Promise<void> {
    await this.#process?.end("SIGQUIT");
    await this.#folder.remove();
  }
}
