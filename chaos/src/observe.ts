import { readFile, rename, writeFile } from "node:fs/promises";
import { join } from "node:path";

/** What the probe in each service writes down and obeys (src/preload/probe.ts). */

export interface Orders {
  /** A named point of a transaction: the process kills itself there */
  killAt?: string;
  clockShiftMs?: number;
  /** A number larger than the last: it weighs itself */
  sample?: number;
}

/** One diagnostics message. Facts are ids, names and numbers. */
export interface Observation {
  readonly replica: string;
  readonly service: string;
  /** By the machine's one monotonic clock */
  readonly at: number;
  readonly event: string;
  readonly facts: Readonly<Record<string, unknown>>;
}

/** The files between the run and one replica's probe; they outlive the replica's processes. */
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

  /** Replaces the orders before. */
  async order(orders: Orders): Promise<void> {
    // Written beside it first: the probe must not read half of it
    await writeFile(`${this.ordersFile}.new`, JSON.stringify(orders));
    await rename(`${this.ordersFile}.new`, this.ordersFile);
  }

  async observations(): Promise<Observation[]> {
    const text = await readFile(this.recordsFile, "utf8").catch(() => "");
    const lines = text.split("\n").slice(0, -1);
    return lines.map((line) => ({ replica: this.#replica, service: this.#service, ...JSON.parse(line) }));
  }
}
