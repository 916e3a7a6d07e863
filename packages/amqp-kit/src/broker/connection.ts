import { EventEmitter } from "node:events";
import { setTimeout as sleep } from "node:timers/promises";
import type { Channel as AmqplibChannel, ChannelModel, ConfirmChannel } from "amqplib";
import { Channel, replyCodeOf } from "./channel.ts";
import { adviceFor, isFatal } from "./connection-errors.ts";
import { Gate } from "./deadline.ts";
import type { Deadline } from "./deadline.ts";
import { dial } from "./dial.ts";
import type { Dialled } from "./dial.ts";
import { defaultIntervals } from "./intervals.ts";
import type { Intervals } from "./intervals.ts";
import { ReconnectSchedule } from "./reconnect-schedule.ts";
import { nameOf } from "./url.ts";
import type { Endpoint } from "./url.ts";
import { watchdog } from "./watchdog.ts";
import { ClosedError, ConnectionError } from "../errors.ts";
import { emit } from "../telemetry/events.ts";
import { messageOf } from "../telemetry/log.ts";
import type { Logger } from "../telemetry/log.ts";

/** Which failures of the first connect reject `opened` instead of being retried: none, those that no retry can fix, or those and any other once each address was tried. */
export type GiveUp = "never" | "if-fatal" | "after-one-round";

type ConnectionEvents = { open: []; lost: []; blocked: []; unblocked: [] };

/** One connection that is opened when it is first needed and reconnects by itself. Knows no exchange, queue or idiom. */
export class Connection extends EventEmitter<ConnectionEvents> {
  readonly #purpose: "publishing" | "consuming";
  readonly #endpoints: readonly Endpoint[];
  readonly #name: string;
  readonly #logger: Logger;
  readonly #intervals: Intervals;
  /** Ends the pause before the next attempt. */
  #pause = new AbortController();
  #canBeWoken = false;
  /** Destroys the current socket. */
  #abortSocket = new AbortController();
  #open = Promise.withResolvers<ChannelModel>();
  #model: ChannelModel | undefined;
  #isStarted = false;
  #lastError: Error | undefined;
  #isClosing = false;
  isBlocked = false;
  readonly #unblocked = new Gate();

  constructor(
    purpose: "publishing" | "consuming",
    endpoints: readonly Endpoint[],
    service: string,
    logger: Logger,
    intervals: Partial<Intervals> = {},
  ) {
    super();
    this.setMaxListeners(0);
    this.#purpose = purpose;
    this.#endpoints = endpoints;
    this.#name = `${service} (${purpose})`;
    this.#logger = logger;
    this.#intervals = { ...defaultIntervals, ...intervals };
    this.#open.promise.catch(() => undefined);
  }

  get isOpen(): boolean {
    return this.#model !== undefined;
  }

  /** There is more than one address, so that another one can be tried. */
  get hasSeveral(): boolean {
    return this.#endpoints.length > 1;
  }

  get isStarted(): boolean {
    return this.#isStarted;
  }

  get intervals(): Readonly<Intervals> {
    return this.#intervals;
  }

  /**
   * Resolves once connected.
   * @param giveUp  counts in the first call only
   * @throws {ConnectionError} {ClosedError}
   */
  async opened(giveUp: GiveUp = "never"): Promise<void> {
    if (!this.#isStarted) {
      this.#isStarted = true;
      void this.#keepOpen(giveUp);
    }
    await this.#open.promise;
  }

  /**
   * Resolves when the broker accepts messages, as far as it has reported: immediately unless it is blocked. Resolves also when the connection
   * is lost.
   * @throws `expired()` at the limit
   */
  async unblocked(deadline: Deadline, expired: () => Error): Promise<void> {
    if (this.isBlocked) await this.#unblocked.pass(deadline, expired);
  }

  /** @throws {ConnectionError} {ClosedError} */
  async channel(): Promise<Channel> {
    return this.#channel((model) => model.createChannel());
  }

  /** @throws {ConnectionError} {ClosedError} */
  async confirmChannel(): Promise<Channel<ConfirmChannel>> {
    return this.#channel((model) => model.createConfirmChannel());
  }

  async #channel<Raw extends AmqplibChannel>(create: (model: ChannelModel) => Promise<Raw>): Promise<Channel<Raw>> {
    await this.opened();
    const model = await this.#open.promise;
    try {
      const raw = await this.withWatchdog(() => create(model));
      // The connection was lost in the moment in which the channel was opened: the channel would never report its loss.
      if (this.#model !== model) throw new Error("closed");
      return new Channel(raw, () => this.#lastError);
    } catch (error) {
      throw new ConnectionError(`The connection was lost: ${messageOf(this.#lastError ?? error)}`, {
        retryable: true,
        cause: error,
      });
    }
  }

  /** Runs work on a channel of its own, so that a refusal closes no other channel. */
  async withChannel<T>(work: (channel: AmqplibChannel) => Promise<T>): Promise<T> {
    const channel = await this.channel();
    try {
      return await this.withWatchdog(() => work(channel.raw));
    } catch (error) {
      // After a connection error amqplib reports only that no reply will come; the connection knows the reason.
      const isExplained = channel.isOpen || this.#lastError === undefined || replyCodeOf(error) !== undefined;
      throw isExplained ? error : this.#lastError;
    } finally {
      await channel.close();
    }
  }

  /** Runs work that the node must answer; see `startWatchdog`. */
  async withWatchdog<T>(work: () => Promise<T>): Promise<T> {
    const stop = this.startWatchdog();
    try {
      return await work();
    } finally {
      stop();
    }
  }

  /**
   * Expects answers from now on: a node that gives none for 5 s is left for the next address, if there is one.
   * @param hasProgress  called every 5 s: have answers come since the last call? @default no, until the watchdog is stopped
   * @returns a function that stops the watchdog
   */
  startWatchdog(hasProgress: () => boolean = () => false): () => void {
    if (!this.hasSeveral) return () => undefined;
    return watchdog({
      intervalMs: this.#intervals.unansweredMs,
      abortSocket: this.#abortSocket,
      isExempt: () => this.isBlocked,
      hasProgress,
    });
  }

  /** Closes cleanly, and on a dead link by destroying the socket after `timeoutMs`. */
  async close(timeoutMs: number): Promise<void> {
    const model = this.#model;
    this.#isClosing = true;
    this.#model = undefined;
    if (model !== undefined) {
      this.#renew();
      const timeLimit = new AbortController();
      await Promise.race([
        model.close().catch(() => undefined),
        sleep(timeoutMs, undefined, { signal: timeLimit.signal }).catch(() => undefined),
      ]);
      timeLimit.abort();
    } else {
      this.#open.reject(new ClosedError("The connection was closed."));
    }
    this.#pause.abort();
    this.#unblocked.open();
    this.#abortSocket.abort();
  }

  /** Ends the pause before the next attempt, if there is one: another connection has reached the broker. */
  wake(): void {
    if (this.#canBeWoken) this.#pause.abort();
  }

  #renew(): void {
    this.#open = Promise.withResolvers();
    this.#open.promise.catch(() => undefined);
    if (this.#isClosing) this.#open.reject(new ClosedError("The connection was closed."));
  }

  /** Connects for the first time, and again after each loss, until `close`. */
  async #keepOpen(giveUp: GiveUp): Promise<void> {
    const schedule = new ReconnectSchedule(this.#endpoints);
    let dialled = await this.#connect(schedule, giveUp);
    while (dialled !== undefined) {
      const openedAt = performance.now();
      await dialled.closed;
      // After a failed heartbeat amqplib leaves the socket open.
      this.#abortSocket.abort();
      const { delayMs, canBeWoken } = schedule.connectionLost(performance.now() - openedAt);
      await this.#wait(delayMs, canBeWoken);
      dialled = await this.#connect(schedule, "never");
    }
  }

  /** Dials until it is connected. @returns undefined once closed, and after `giveUp`; then `opened` has rejected */
  async #connect(schedule: ReconnectSchedule, giveUp: GiveUp): Promise<Dialled | undefined> {
    while (!this.#isClosing) {
      const endpoint = schedule.nextEndpoint();
      const abortSocket = new AbortController();
      this.#abortSocket = abortSocket;
      try {
        return await this.#dial(endpoint, abortSocket);
      } catch (error) {
        abortSocket.abort();
        if (this.#isClosing) return undefined;
        if (givesUp(giveUp, error, schedule.isRoundDone)) {
          const retryable = !isFatal(error);
          this.#open.reject(new ConnectionError(adviceFor(error, endpoint), { retryable, cause: error }));
          return undefined;
        }
        const delayMs = schedule.dialFailed();
        this.#logger.warn(
          { connection: this.#purpose, delayMs, error: adviceFor(error, endpoint) },
          "cannot connect, retrying",
        );
        await this.#wait(delayMs, true);
      }
    }
    return undefined;
  }

  async #dial(endpoint: Endpoint, abortSocket: AbortController): Promise<Dialled> {
    this.#lastError = undefined;
    const dialled = await dial(endpoint, {
      connectionName: this.#name,
      timeoutMs: this.#intervals.dialTimeoutMs,
      abortSocket,
      onLost: (model, reason) => {
        this.#lastError = reason;
        this.#onLost(model);
      },
    });
    this.#onOpen(dialled.model, endpoint);
    return dialled;
  }

  async #wait(delayMs: number, canBeWoken: boolean): Promise<void> {
    if (this.#isClosing) return;
    this.#pause = new AbortController();
    this.#canBeWoken = canBeWoken;
    await sleep(delayMs, undefined, { signal: this.#pause.signal }).catch(() => undefined);
  }

  #onOpen(model: ChannelModel, endpoint: Endpoint): void {
    model.on("blocked", (reason) => {
      this.isBlocked = true;
      emit("connection", { purpose: this.#purpose, state: "blocked" });
      this.#logger.warn({ connection: this.#purpose, reason }, "broker blocked: memory or disk alarm");
      this.emit("blocked");
    });
    model.on("unblocked", () => {
      this.isBlocked = false;
      this.#unblocked.open();
      emit("connection", { purpose: this.#purpose, state: "unblocked" });
      this.#logger.info({ connection: this.#purpose }, "broker unblocked");
      this.emit("unblocked");
    });
    if (this.#isClosing) return;
    this.#model = model;
    this.#open.resolve(model);
    emit("connection", { purpose: this.#purpose, state: "open" });
    this.#logger.info({ connection: this.#purpose, broker: nameOf(endpoint) }, "connected");
    this.emit("open");
  }

  /** Called from within amqplib's own event, so that no caller gets a connection that is lost. */
  #onLost(model: ChannelModel): void {
    if (this.#model !== model) return;
    this.#model = undefined;
    this.isBlocked = false;
    this.#unblocked.open();
    this.#renew();
    emit("connection", { purpose: this.#purpose, state: "lost" });
    this.#logger.warn({ connection: this.#purpose, error: messageOf(this.#lastError) }, "connection lost");
    this.emit("lost");
  }
}

function givesUp(giveUp: GiveUp, error: unknown, isRoundDone: boolean): boolean {
  return (giveUp !== "never" && isFatal(error)) || (giveUp === "after-one-round" && isRoundDone);
}
