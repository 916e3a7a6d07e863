import { randomUUID } from "node:crypto";
import type { RabbitMq, RabbitMqSource } from "../rabbitmq/broker.ts";
import { Management } from "../rabbitmq/management.ts";
import { startRabbitMq } from "../rabbitmq/start.ts";
import type { LeasedBroker, RunApi } from "./run-api.ts";

/**
 * Brokers that a test file may stop, kill and freeze. One file at a time has a broker; the next file gets it running and empty,
 * which takes less processor time than another start.
 */
export class BrokerPool implements AsyncDisposable {
  readonly #all: RabbitMq[] = [];
  readonly #idle: RabbitMq[] = [];
  readonly #leased = new Map<string, RabbitMq>();
  /** Brokers with a setting that `reset` does not restore */
  readonly #spoiled = new WeakSet<RabbitMq>();

  async lease({ from }: { from: readonly RabbitMqSource[] }): Promise<LeasedBroker> {
    const broker = (await this.#reuse()) ?? (await this.#start(from));
    const id = randomUUID();
    this.#leased.set(id, broker);
    const { url, managementUrl, source, version, isOwned, installed } = broker;
    return { id, url, managementUrl, source, version, isOwned, installed };
  }

  async act({ id, action, parameters }: RunApi["broker-action"]["asks"]): Promise<void> {
    const broker = this.#leased.get(id);
    if (broker === undefined) throw new Error("The file that had leased this broker has released it.");
    if (action === "setConsumerTimeout") this.#spoiled.add(broker);
    const method = broker[action] as (...parameters: unknown[]) => Promise<void>;
    await method.apply(broker, parameters);
  }

  async release({ id }: { id: string }): Promise<void> {
    const broker = this.#leased.get(id);
    this.#leased.delete(id);
    if (broker === undefined) return;
    if (this.#spoiled.has(broker)) await broker.close();
    else this.#idle.push(broker);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.all(this.#all.map((broker) => broker.close()));
  }

  async #start(from: readonly RabbitMqSource[]): Promise<RabbitMq> {
    const broker = await startRabbitMq({ from, env: {} });
    this.#all.push(broker);
    return broker;
  }

  async #reuse(): Promise<RabbitMq | undefined> {
    for (let broker = this.#idle.pop(); broker !== undefined; broker = this.#idle.pop()) {
      try {
        await reset(broker);
        return broker;
      } catch {
        // A broker that does not recover from the last file is replaced
        await broker.close();
      }
    }
    return undefined;
  }
}

/** Afterwards the broker runs, has no alarm, and holds nothing but an empty virtual host "/" and its own user. */
async function reset(broker: RabbitMq): Promise<void> {
  await broker.thaw();
  await broker.start();
  await broker.clearMemoryAlarm();
  await broker.clearDiskAlarm();
  const { managementUrl = "" } = broker;
  await new Management(managementUrl).deleteAll();
}
