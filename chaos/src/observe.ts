import { readFile, rename, writeFile } from "node:fs/promises";
import { join } from "node:path";

/** What the probe in each service (src/preload/probe.ts) records, and the orders that it follows. */

export interface Orders {
  /** A named point of a transaction, at which the process kills itself */
  killAt?: string;
  clockShiftMs?: number;
  /** A number larger than the last one makes the process record its memory and handles */
  sample?: number;
}

/** One diagnostics message. Its facts are ids, names and numbers. */
export interface Observation {
  readonly replica: string;
  readonly service: string;
  /** Milliseconds of the machine's monotonic clock */
  readonly at: number;
  readonly event: string;
  readonly facts: Readonly<Record<string, unknown>>;
}

/** The files through which the run and one replica's probe communicate. They outlive the replica's processes. */
export class Probe {
  readonly recordsFile: string;
  readonly ordersFile: string;
  readonly #replica: string;
  readonly #service: string;

  constructor(folder: string, replica: string, service: string) {
    this.recordsFile = join(folder, `${replica}.records.jsonl`);
    this.ordersFile = join(folder, `${replica}.orders.json`);
    this.#replica = replica;
    this.#service = service;
  }

  /** Replaces the previous orders. */
  async order(orders: Orders): Promise<void> {
    // A rename is atomic, so the probe never reads half a file
    await writeFile(`${this.ordersFile}.new`, JSON.stringify(orders));
    await rename(`${this.ordersFile}.new`, this.ordersFile);
  }

  async observations(): Promise<Observation[]> {
    const text = await readFile(this.recordsFile, "utf8").catch(() => "");
    const lines = text.split("\n").slice(0, -1);
    return lines.map((line) => ({ replica: this.#replica, service: this.#service, ...JSON.parse(line) }));
  }
}
