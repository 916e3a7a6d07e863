import { retryUntil } from "../processes/retry-until.ts";
import type { ServerEngine } from "../processes/server-engine.ts";
import type { RabbitMq, RabbitMqSource } from "./broker.ts";
import type { BrokerPorts, Credentials } from "./config.ts";
import { handshake } from "./handshake.ts";
import { Management } from "./management.ts";

export interface Owned {
  engine: ServerEngine;
  host: string;
  ports: BrokerPorts;
  credentials: Credentials;
  source: RabbitMqSource;
  installed: string[];
}

export class OwnedRabbitMq implements RabbitMq {
  readonly url: string;
  readonly tlsUrl: string | undefined;
  readonly managementUrl: string;
  readonly source: RabbitMqSource;
  readonly installed: readonly string[];
  readonly isOwned = true;
  #version = "";
  readonly #engine: ServerEngine;
  #isFrozen = false;
  #isMemoryShort = false;
  #isDiskShort = false;
  #isClosed = false;

  static async start(owned: Owned): Promise<OwnedRabbitMq> {
    const broker = new OwnedRabbitMq(owned);
    try {
      await broker.start();
      return broker;
    } catch (error) {
      await broker.close();
      throw error;
    }
  }

  protected constructor({ engine, host, ports, credentials, source, installed }: Owned) {
    const authority = `${credentials.user}:${credentials.password}@${host}`;
    this.url = `amqp://${authority}:${ports.amqp}`;
    this.tlsUrl = ports.amqps === undefined ? undefined : `amqps://${authority}:${ports.amqps}`;
    this.managementUrl = `http://${authority}:${ports.management}`;
    this.source = source;
    this.installed = installed;
    this.#engine = engine;
  }

  get version(): string {
    return this.#version;
  }

  async start(): Promise<void> {
    if (!(await this.#engine.isRunning())) await this.#engine.start();
    const management = new Management(this.managementUrl);
    const giveUp = async (): Promise<string | undefined> =>
      (await this.#engine.isRunning())
        ? undefined
        : `the broker has ended. Its last lines:\n${await this.#engine.lastOutput()}`;
    const ready = { timeoutMs: 120_000, giveUp };
    const answer = await retryUntil("RabbitMQ accepts connections", () => handshake(this.url, 5_000), ready);
    await retryUntil("RabbitMQ's management API answers", () => management.version(), ready);
    this.#version = answer.version;
  }

  async stop(): Promise<void> {
    await this.thaw();
    if (await this.#engine.isRunning()) await this.#engine.stop();
  }

  async restart(): Promise<void> {
    await this.stop();
    await this.start();
  }

  async kill(): Promise<void> {
    await this.thaw();
    if (await this.#engine.isRunning()) await this.#engine.kill();
  }

  async freeze(): Promise<void> {
    if (this.#isFrozen) return;
    await this.#engine.freeze();
    this.#isFrozen = true;
  }

  async thaw(): Promise<void> {
    if (!this.#isFrozen) return;
    await this.#engine.thaw();
    this.#isFrozen = false;
  }

  async raiseMemoryAlarm(): Promise<void> {
    await this.#engine.run("rabbitmqctl", ["set_vm_memory_high_watermark", "0"]);
    this.#isMemoryShort = true;
  }

  async clearMemoryAlarm(): Promise<void> {
    if (!this.#isMemoryShort) return;
    await this.#engine.run("rabbitmqctl", ["set_vm_memory_high_watermark", "0.6"]);
    this.#isMemoryShort = false;
  }

  async setConsumerTimeout(timeoutMs: number): Promise<void> {
    // Channels check it once in a tick, by default a minute
    const settings = { consumer_timeout: timeoutMs, channel_tick_interval: Math.ceil(timeoutMs / 4) };
    const calls = Object.entries(settings).map(([key, value]) => `application:set_env(rabbit, ${key}, ${value})`);
    await this.#engine.run("rabbitmqctl", ["eval", `${calls.join(", ")}.`]);
  }

  async raiseDiskAlarm(): Promise<void> {
    await this.#engine.run("rabbitmqctl", ["set_disk_free_limit", "1000000000000000"]);
    this.#isDiskShort = true;
  }

  async clearDiskAlarm(): Promise<void> {
    if (!this.#isDiskShort) return;
    await this.#engine.run("rabbitmqctl", ["set_disk_free_limit", "50000000"]);
    this.#isDiskShort = false;
  }

  async deleteQueue(vhost: string, queue: string): Promise<void> {
    await this.#engine.run("rabbitmqctl", ["delete_queue", "--vhost", vhost, queue]);
  }

  async close(): Promise<void> {
    if (this.#isClosed) return;
    this.#isClosed = true;
    await this.thaw();
    await this.#engine.remove();
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }
}
