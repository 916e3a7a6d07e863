/* oxlint-disable typescript/unbound-method -- the verbs are passed to be found in stack traces, not to be called */
import { setTimeout as sleep } from "node:timers/promises";
import { Listener } from "./broadcast/listener.ts";
import { Sender } from "./broadcast/sender.ts";
import { Connection } from "./broker/connection.ts";
import type { Intervals } from "./broker/intervals.ts";
import { Publisher } from "./broker/publisher.ts";
import {
  bindSubscription,
  declareApiExchange,
  declareBroadcastExchange,
  declareSubscription,
} from "./broker/topology.ts";
import { readUrls } from "./broker/url.ts";
import { withCallerStack } from "./caller-stack.ts";
import type { Broadcast, Contract, Notification, Operation, System } from "./contract.ts";
import { ClosedError, TopologyError } from "./errors.ts";
import { shortString } from "./messages/properties.ts";
import { subscriptionQueue } from "./names.ts";
import { Notifier } from "./notify/notifier.ts";
import type { NotifyOptions } from "./notify/notifier.ts";
import { Subscriber } from "./notify/subscriber.ts";
import { checkOptions, maxConcurrency, positive, readSubscribeOptions } from "./options.ts";
import type { ConnectOptions, ListenOptions, RespondOptions, SubscribeOptions } from "./options.ts";
import { ArrivalClock } from "./request-response/arrival-clock.ts";
import { Requester } from "./request-response/requester.ts";
import type { RequestOptions } from "./request-response/requester.ts";
import { Responder } from "./request-response/responder.ts";
import { ServiceRoles } from "./service-roles.ts";
import { silent, messageOf } from "./telemetry/log.ts";
import type { Logger } from "./telemetry/log.ts";
import type { Consuming, Handler } from "./verbs.ts";

type Verb = Parameters<typeof withCallerStack>[0];

/** The part of its time limit that `close` reserves for closing the connections. */
const closingMs = 500;

/** The pause before a declaration is retried. */
const declarePauseMs = 250;

interface Running extends Consuming {
  readonly isReady: boolean;
  readonly unconfirmed: readonly string[];
  start(): Promise<void>;
  abort(reason: Error): void;
}

/** The connections of one service, with its senders and consumers. */
export class Session {
  readonly #service: string;
  readonly #version: string | undefined;
  readonly #roles: ServiceRoles;
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
  /** No handler is running any more, so nothing may be sent. */
  #isDrained = false;

  constructor(
    urls: string | readonly string[],
    options: ConnectOptions<System, string>,
    intervals: Partial<Intervals>,
  ) {
    const { system, service, version, logger = silent, closeTimeoutMs = 5_000, tls } = options;
    this.#roles = new ServiceRoles(system, service);
    this.#service = service;
    this.#version = version === undefined ? undefined : shortString("version", version);
    this.#logger = logger;
    this.#closeTimeoutMs = positive("closeTimeoutMs", closeTimeoutMs);
    const endpoints = readUrls(urls, tls);
    this.#publishing = new Connection("publishing", endpoints, service, logger, intervals);
    this.#consuming = new Connection("consuming", endpoints, service, logger, intervals);
    this.#clock = new ArrivalClock((stalledMs) =>
      logger.warn({ stalledMs }, "event loop stalled: heartbeats and messages waited"),
    );
    // A service with only one of its connections would consume requests that it cannot answer.
    this.#publishing.on("open", () => this.#consuming.wake());
    this.#consuming.on("open", () => this.#publishing.wake());
  }

  async open(): Promise<void> {
    const {
      broadcasts = [],
      listens = [],
      notifies = [],
      subscribes = [],
      requests = [],
      responds = [],
    } = this.#roles.roles;
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
        this.#roles.subscribersOf(contract),
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
    return this.#call(Session.prototype.broadcast, async () => {
      const sender = this.#senders.get(contract);
      if (sender === undefined) throw this.#roles.missing("broadcasts", contract);
      await sender.send(contract, message);
    });
  }

  listen(contract: Broadcast, handler: Handler<unknown>, options: ListenOptions = {}): Promise<Consuming> {
    return this.#consume(Session.prototype.listen, () => {
      this.#roles.check("listens", contract, handler);
      checkOptions("listen", options, ["maxBuffered"]);
      const maxBuffered = positive("maxBuffered", options.maxBuffered ?? 1_000);
      return new Listener(this.#consuming, contract, handler, maxBuffered, this.#logger);
    });
  }

  notify(contract: Notification, message: unknown, options: NotifyOptions = {}): Promise<void> {
    return this.#call(Session.prototype.notify, async () => {
      const notifier = this.#notifiers.get(contract);
      if (notifier === undefined) throw this.#roles.missing("notifies", contract);
      checkOptions("notify", options, ["messageId", "timeoutMs", "signal"]);
      if (options.timeoutMs !== undefined) positive("timeoutMs", options.timeoutMs);
      await notifier.notify(contract, message, options);
    });
  }

  subscribe(contract: Notification, handler: Handler<unknown>, options: SubscribeOptions = {}): Promise<Consuming> {
    return this.#consume(Session.prototype.subscribe, () => {
      this.#roles.check("subscribes", contract, handler);
      const settings = { service: this.#service, version: this.#version, ...readSubscribeOptions(options) };
      const connections = { consuming: this.#consuming, publishing: this.#publishing };
      return new Subscriber(connections, contract, handler, settings, this.#logger);
    });
  }

  request(contract: Operation, request: unknown, options: RequestOptions = {}): Promise<unknown> {
    return this.#call(Session.prototype.request, async () => {
      const requester = this.#roles.roles.requests?.includes(contract) === true ? this.#requester : undefined;
      if (requester === undefined) throw this.#roles.missing("requests", contract);
      checkOptions("request", options, ["idempotencyKey", "timeoutMs", "signal"]);
      if (options.timeoutMs !== undefined) positive("timeoutMs", options.timeoutMs);
      return requester.request(contract, request, options);
    });
  }

  respond(contract: Operation, handler: Handler<unknown>, options: RespondOptions = {}): Promise<Consuming> {
    return this.#consume(Session.prototype.respond, () => {
      this.#roles.check("responds", contract, handler);
      checkOptions("respond", options, ["concurrency"]);
      const settings = {
        service: this.#service,
        concurrency: positive("concurrency", options.concurrency ?? 10, maxConcurrency),
      };
      this.#replies ??= new Publisher(this.#publishing, "");
      const connections = { consuming: this.#consuming, publishing: this.#publishing };
      return new Responder(connections, this.#replies, this.#clock, contract, handler, settings, this.#logger);
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
    const timeLimit = new AbortController();
    const drainMs = Math.max(remainingMs() - closingMs, remainingMs() / 2);
    await Promise.race([
      this.#drain().catch((error: unknown) =>
        this.#logger.warn({ error: messageOf(error) }, "some resources failed to close"),
      ),
      sleep(drainMs, undefined, { signal: timeLimit.signal }).catch(() => undefined),
    ]);
    timeLimit.abort();
    this.#isDrained = true;
    // If requests are still pending at the time limit, they fail here, and the reply queue is not set up again.
    void this.#requester?.close();
    for (const sender of [...this.#senders.values(), ...this.#notifiers.values()]) void sender.close();
    const timeIsUp = new ClosedError("The connection was closed before the work was finished.", "unknown");
    for (const consumer of this.#running) consumer.abort(timeIsUp);
    const unconfirmed = [...this.#notifiers.values(), ...this.#running].flatMap((part) => part.unconfirmed);
    this.#clock.stop();
    await Promise.all([this.#publishing.close(remainingMs()), this.#consuming.close(remainingMs())]);
    if (unconfirmed.length > 0) this.#logger.warn({ unconfirmed }, "closed with unconfirmed messages");
    return unconfirmed;
  }

  /** Handlers that are running may still send. Afterwards, waits until everything that was sent is confirmed. */
  async #drain(): Promise<void> {
    await Promise.all([...this.#running].map((consumer) => consumer.stop()));
    this.#isDrained = true;
    const senders = [...this.#senders.values()];
    const notifiers = [...this.#notifiers.values()];
    await Promise.all([this.#requester?.idle(), ...notifiers.map((notifier) => notifier.idle())]);
    const parts = [...senders, ...notifiers, this.#requester, this.#replies].filter((part) => part !== undefined);
    await Promise.all(parts.map((part) => part.close()));
  }

  /** Runs a verb, unless the session is closed. */
  #call<T>(verb: Verb, work: () => Promise<T>): Promise<T> {
    return withCallerStack(verb, async () => {
      if (this.#isDrained) throw closed();
      return work();
    });
  }

  /** Runs a verb that starts a consumer. */
  #consume(verb: Verb, create: () => Running): Promise<Consuming> {
    return this.#call(verb, async () => {
      if (this.#closed !== undefined) throw closed();
      return this.#start(create());
    });
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

  /** Declares, and retries if the connection is lost meanwhile. */
  async #declare(work: () => Promise<unknown>): Promise<void> {
    for (;;) {
      try {
        await work();
        return;
      } catch (error) {
        if (error instanceof TopologyError || error instanceof ClosedError) throw error;
        this.#logger.warn({ service: this.#service, error: messageOf(error) }, "cannot declare, retrying");
        await sleep(declarePauseMs);
      }
    }
  }
}

function closed(): ClosedError {
  return new ClosedError("This connection was closed.");
}
