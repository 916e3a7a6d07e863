import { setTimeout as sleep } from "node:timers/promises";
import { Listener } from "./broadcast/listener.ts";
import { Sender } from "./broadcast/sender.ts";
import { Connection } from "./broker/connection.ts";
import { Publisher } from "./broker/publisher.ts";
import type { TlsOptions } from "./broker/tls.ts";
import {
  bindSubscription,
  declareApiExchange,
  declareBroadcastExchange,
  declareSubscription,
} from "./broker/topology.ts";
import { readUrls } from "./broker/url.ts";
import type { Broadcast, Contract, Notification, Operation, Roles, System } from "./contract.ts";
import { AmqpKitError, ClosedError, TopologyError, UsageError } from "./errors.ts";
import { shortString } from "./messages/properties.ts";
import { subscriptionQueue } from "./names.ts";
import { Notifier } from "./notify/notifier.ts";
import type { NotifyOptions } from "./notify/notifier.ts";
import { Subscriber } from "./notify/subscriber.ts";
import { checkOptions, maxConcurrency, positive, readSubscribeOptions } from "./options.ts";
import type { ListenOptions, RespondOptions, SubscribeOptions } from "./options.ts";
import { ArrivalClock } from "./request-response/arrival-clock.ts";
import { Requester } from "./request-response/requester.ts";
import type { RequestOptions } from "./request-response/requester.ts";
import { Responder } from "./request-response/responder.ts";
import { silent, messageOf } from "./telemetry/log.ts";
import type { Logger } from "./telemetry/log.ts";
import type { Amqp, Consuming, Handler } from "./verbs.ts";

export interface ConnectOptions<S extends System, N extends keyof S & string> {
  system: S;
  service: N;
  /** Of the service: stands in the headers of the messages that it sets aside. @default none */
  version?: string;
  /** @default none */
  logger?: Logger;
  /** Ends the waiting for a broker that is not there yet. */
  signal?: AbortSignal;
  /** How long `close` may take, in milliseconds. @default 5000 */
  closeTimeoutMs?: number;
  /** For amqps: URLs. The broker's certificate must be valid, trusted and for the URL's host name: nothing switches that off. @default what Node.js trusts */
  tls?: TlsOptions | undefined;
}

/**
 * Connects one service of a system, and declares what stands on the broker for it. Waits for a broker that is not there yet.
 * @param urls  one AMQP URL or several, of one cluster: the next is tried when one fails
 * @throws {ConnectionError} {TopologyError} at once, what no waiting mends: credentials, virtual host, certificates, flags, permissions
 * @throws {UsageError} certificates that cannot be read; a service that the system does not name; the signal's reason when it aborts
 */
export async function connect<S extends System, N extends keyof S & string>(
  urls: string | readonly string[],
  options: ConnectOptions<S, N>,
): Promise<Amqp<S[N]>> {
  checkOptions("connect", options, ["system", "service", "version", "logger", "signal", "closeTimeoutMs", "tls"]);
  if (options.tls !== undefined) checkOptions("connect, tls", options.tls, ["ca", "cert", "key"]);
  options.signal?.throwIfAborted();
  const session = new Session(urls, options);
  const waiting = Promise.withResolvers<never>();
  const onAbort = (): void => waiting.reject(options.signal?.reason);
  options.signal?.addEventListener("abort", onAbort);
  try {
    await Promise.race([session.open(), waiting.promise]);
  } catch (error) {
    await session.close(options.signal?.aborted === true ? 0 : undefined);
    throw error;
  } finally {
    options.signal?.removeEventListener("abort", onAbort);
  }
  return session;
}

/** What `close` keeps back of its time for closing the connections themselves. */
const closingMs = 500;

/** So long nothing is declared after a connection was lost in the middle of it. */
const declarePauseMs = 250;

interface Running extends Consuming {
  readonly isReady: boolean;
  readonly unconfirmed: readonly string[];
  start(): Promise<void>;
  abort(reason: Error): void;
}

class Session {
  readonly #system: System;
  readonly #service: string;
  readonly #version: string | undefined;
  readonly #roles: Roles;
  readonly #logger: Logger;
  readonly #closeTimeoutMs: number;
  readonly #publishing: Connection;
  readonly #consuming: Connection;
  readonly #senders = new Map<Contract, Sender>();
  readonly #notifiers = new Map<Contract, Notifier>();
  readonly #running = new Set<Running>();
  readonly #clock: ArrivalClock;
  #requester: Requester | undefined;
  #replies: Publisher | undefined;
  #closed: Promise<string[]> | undefined;
  /** No handler is at work any more, so nothing may be sent. */
  #isDrained = false;

  constructor(urls: string | readonly string[], options: ConnectOptions<System, string>) {
    const { system, service, version, logger = silent, closeTimeoutMs = 5_000, tls } = options;
    const roles = Object.hasOwn(system, service) ? system[service] : undefined;
    if (roles === undefined)
      throw new UsageError(`The system has no service "${service}". It has ${Object.keys(system).join(", ")}.`);
    this.#system = system;
    this.#service = service;
    this.#version = version === undefined ? undefined : shortString("version", version);
    this.#roles = roles;
    this.#logger = logger;
    this.#closeTimeoutMs = positive("closeTimeoutMs", closeTimeoutMs);
    const endpoints = readUrls(urls, tls);
    this.#publishing = new Connection("publishing", endpoints, service, logger);
    this.#consuming = new Connection("consuming", endpoints, service, logger);
    this.#clock = new ArrivalClock((stalledMs) =>
      logger.warn(
        { stalledMs },
        "this process stood still: its event loop was blocked, or it was frozen. Heartbeats and messages have waited",
      ),
    );
    // A service with half of its connections takes requests that it cannot answer
    this.#publishing.on("open", () => this.#consuming.wake());
    this.#consuming.on("open", () => this.#publishing.wake());
  }

  async open(): Promise<void> {
    const { broadcasts = [], listens = [], notifies = [], subscribes = [], requests = [], responds = [] } = this.#roles;
    const first = broadcasts.length + notifies.length > 0 ? this.#publishing : this.#consuming;
    await first.opened("if-fatal");

    for (const contract of broadcasts) {
      const sender = new Sender(this.#publishing, contract, this.#service, this.#logger);
      this.#senders.set(contract, sender);
      await this.#declare(() => sender.declare());
    }
    for (const contract of notifies) {
      const notifier = new Notifier(
        this.#publishing,
        contract,
        this.#subscribersOf(contract),
        this.#service,
        this.#logger,
      );
      this.#notifiers.set(contract, notifier);
      await this.#declare(() => notifier.declare());
    }
    for (const contract of listens) await this.#declare(() => declareBroadcastExchange(first, contract));
    for (const contract of subscribes) {
      const queue = subscriptionQueue(contract, this.#service);
      await this.#declare(() => declareSubscription(first, queue, []));
      await this.#declare(() => bindSubscription(first, contract, queue));
    }
    for (const contract of responds) await this.#declare(() => declareApiExchange(first, contract));
    if (requests.length > 0) {
      this.#requester = new Requester(
        { consuming: this.#consuming, publishing: this.#publishing },
        this.#service,
        this.#logger,
      );
      await this.#requester.start();
    }
  }
  get isReady(): boolean {
    if (this.#closed !== undefined) return false;
    const connections = [this.#publishing, this.#consuming].filter((connection) => connection.isStarted);
    const consumers = this.#requester === undefined ? [...this.#running] : [...this.#running, this.#requester];
    return connections.every(({ isOpen }) => isOpen) && consumers.every(({ isReady }) => isReady);
  }

  broadcast(contract: Broadcast, message: unknown): Promise<void> {
    return this.#call("broadcast", async () => {
      const sender = this.#senders.get(contract);
      if (sender === undefined) throw this.#hasNoRole("broadcasts", contract);
      await sender.send(contract, message);
    });
  }

  listen(contract: Broadcast, handler: Handler<unknown>, options: ListenOptions = {}): Promise<Consuming> {
    return this.#call("listen", async () => {
      this.#checkRole("listens", contract, handler);
      checkOptions("listen", options, ["maxBuffered"]);
      const maxBuffered = positive("maxBuffered", options.maxBuffered ?? 1_000);
      return this.#start(new Listener(this.#consuming, contract, handler, maxBuffered, this.#logger));
    });
  }

  notify(contract: Notification, message: unknown, options: NotifyOptions = {}): Promise<void> {
    return this.#call("notify", async () => {
      const notifier = this.#notifiers.get(contract);
      if (notifier === undefined) throw this.#hasNoRole("notifies", contract);
      checkOptions("notify", options, ["messageId", "timeoutMs", "signal"]);
      if (options.timeoutMs !== undefined) positive("timeoutMs", options.timeoutMs);
      await notifier.notify(contract, message, options);
    });
  }

  subscribe(contract: Notification, handler: Handler<unknown>, options: SubscribeOptions = {}): Promise<Consuming> {
    return this.#call("subscribe", async () => {
      this.#checkRole("subscribes", contract, handler);
      const settings = { service: this.#service, version: this.#version, ...readSubscribeOptions(options) };
      const connections = { consuming: this.#consuming, publishing: this.#publishing };
      return this.#start(new Subscriber(connections, contract, handler, settings, this.#logger));
    });
  }

  request(contract: Operation, request: unknown, options: RequestOptions = {}): Promise<unknown> {
    return this.#call("request", async () => {
      const requester = this.#roles.requests?.includes(contract) === true ? this.#requester : undefined;
      if (requester === undefined) throw this.#hasNoRole("requests", contract);
      checkOptions("request", options, ["idempotencyKey", "timeoutMs", "signal"]);
      if (options.timeoutMs !== undefined) positive("timeoutMs", options.timeoutMs);
      return requester.request(contract, request, options);
    });
  }

  respond(contract: Operation, handler: Handler<unknown>, options: RespondOptions = {}): Promise<Consuming> {
    return this.#call("respond", async () => {
      this.#checkRole("responds", contract, handler);
      checkOptions("respond", options, ["concurrency"]);
      const settings = {
        service: this.#service,
        concurrency: positive("concurrency", options.concurrency ?? 10, maxConcurrency),
      };
      this.#replies ??= new Publisher(this.#publishing, "");
      const connections = { consuming: this.#consuming, publishing: this.#publishing };
      return this.#start(
        new Responder(connections, this.#replies, this.#clock, contract, handler, settings, this.#logger),
      );
    });
  }

  close(timeoutMs = this.#closeTimeoutMs): Promise<string[]> {
    this.#closed ??= this.#close(timeoutMs);
    return this.#closed;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  async #close(timeoutMs: number): Promise<string[]> {
    const startedAt = performance.now();
    const remainingMs = (): number => Math.max(0, startedAt + timeoutMs - performance.now());
    const patience = new AbortController();
    const drainMs = Math.max(remainingMs() - closingMs, remainingMs() / 2);
    await Promise.race([
      this.#drain().catch((error: unknown) =>
        this.#logger.warn({}, `not everything was closed in order: ${messageOf(error)}`),
      ),
      sleep(drainMs, undefined, { signal: patience.signal }).catch(() => undefined),
    ]);
    patience.abort();
    this.#isDrained = true;
    // Out of time with requests pending: they end here, and the reply queue is not set up again.
    void this.#requester?.close();
    for (const sender of [...this.#senders.values(), ...this.#notifiers.values()]) void sender.close();
    const timeIsUp = new ClosedError("The connection was closed before the work was done.", "unknown");
    for (const consumer of this.#running) consumer.abort(timeIsUp);
    const unconfirmed = [...this.#notifiers.values(), ...this.#running].flatMap((part) => part.unconfirmed);
    this.#clock.stop();
    await Promise.all([this.#publishing.close(remainingMs()), this.#consuming.close(remainingMs())]);
    if (unconfirmed.length > 0)
      this.#logger.warn({ unconfirmed }, "closed before the broker had confirmed these messages");
    return unconfirmed;
  }

  /** Handlers may use the verbs that send until they are done; then what was sent is flushed. */
  async #drain(): Promise<void> {
    await Promise.all([...this.#running].map((consumer) => consumer.stop()));
    this.#isDrained = true;
    const senders = [...this.#senders.values()];
    const notifiers = [...this.#notifiers.values()];
    await Promise.all([this.#requester?.idle(), ...notifiers.map((notifier) => notifier.idle())]);
    const parts = [...senders, ...notifiers, this.#requester, this.#replies].filter((part) => part !== undefined);
    await Promise.all(parts.map((part) => part.close()));
  }

  /** Runs a verb; its errors show where it was called. */
  async #call<T>(verb: string, work: () => Promise<T>): Promise<T> {
    const here = new Error(verb);
    try {
      const isTaking = ["listen", "subscribe", "respond"].includes(verb);
      if (this.#isDrained || (isTaking && this.#closed !== undefined)) {
        throw new ClosedError("This connection was closed.");
      }
      return await work();
    } catch (error) {
      if (error instanceof AmqpKitError) {
        const [, , , ...frames] = (here.stack ?? "").split("\n");
        error.stack = [`${error.name}: ${error.message}`, ...frames].join("\n");
      }
      throw error;
    }
  }

  async #start(consumer: Running): Promise<Consuming> {
    this.#running.add(consumer);
    const stop = async (): Promise<void> => {
      await consumer.stop();
      this.#running.delete(consumer);
    };
    try {
      await consumer.start();
    } catch (error) {
      await stop();
      throw error;
    }
    return { stop };
  }

  /** Declares, and again when the connection is lost meanwhile. */
  async #declare(work: () => Promise<unknown>): Promise<void> {
    for (;;) {
      try {
        await work();
        return;
      } catch (error) {
        if (error instanceof TopologyError || error instanceof ClosedError) throw error;
        this.#logger.warn({ service: this.#service }, `cannot declare: ${messageOf(error)}; trying again`);
        await sleep(declarePauseMs);
      }
    }
  }

  #subscribersOf(notification: Notification): string[] {
    return Object.keys(this.#system).filter((service) => this.#system[service]?.subscribes?.includes(notification));
  }

  #checkRole(role: keyof Roles, contract: Contract, handler: unknown): void {
    const contracts: readonly Contract[] = this.#roles[role] ?? [];
    if (!contracts.includes(contract)) throw this.#hasNoRole(role, contract);
    if (typeof handler !== "function") throw new UsageError(`The handler of "${contract.name}" must be a function.`);
  }

  #hasNoRole(role: keyof Roles, contract: Contract | undefined): UsageError {
    const name = contract?.name ?? "this contract";
    return new UsageError(
      `Service "${this.#service}" has no role for it: list "${name}" under its ${role} in defineSystem.`,
    );
  }
}
