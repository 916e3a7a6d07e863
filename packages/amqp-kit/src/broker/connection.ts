import { EventEmitter } from "node:events";
import { setTimeout as sleep } from "node:timers/promises";
import amqplib from "amqplib";
import type { Channel as AmqplibChannel, ChannelModel, ConfirmChannel } from "amqplib";
import { backoffMs } from "./backoff.ts";
import { Channel, replyCodeOf } from "./channel.ts";
import { Gate } from "./deadline.ts";
import type { Deadline } from "./deadline.ts";
import { tlsAdvice } from "./tls.ts";
import { nameOf } from "./url.ts";
import type { Endpoint } from "./url.ts";
import { ClosedError, ConnectionError } from "../errors.ts";
import { emit } from "../telemetry/events.ts";
import { messageOf } from "../telemetry/log.ts";
import type { Logger } from "../telemetry/log.ts";

/** The only file that loads amqplib. Knows no exchange, queue or idiom. */

const dialTimeoutMs = 10_000;
/** A connection that lived shorter than this counts as one more failure, so that a broker that hangs up at once is not hammered. */
const stableAfterMs = 10_000;
/** A node of several that gives no answer for so long is left for the next. */
const unansweredMs = 5_000;

type ConnectionEvents = { open: []; lost: []; blocked: []; unblocked: [] };

/** One connection that comes back by itself. Opened when first needed. */
export class Connection extends EventEmitter<ConnectionEvents> {
  readonly #purpose: "publishing" | "consuming";
  readonly #endpoints: readonly Endpoint[];
  readonly #name: string;
  readonly #logger: Logger;
  /** Ends the pause before the next attempt. */
  #pause = new AbortController();
  #canBeWoken = false;
  /** Destroys the socket that is in use. */
  #abortSocket = new AbortController();
  #open = Promise.withResolvers<ChannelModel>();
  #model: ChannelModel | undefined;
  #started = false;
  #lastError: Error | undefined;
  #isClosing = false;
  isBlocked = false;
  readonly #unblocked = new Gate();

  constructor(purpose: "publishing" | "consuming", endpoints: readonly Endpoint[], service: string, logger: Logger) {
    super();
    this.setMaxListeners(0);
    this.#purpose = purpose;
    this.#endpoints = endpoints.toSorted(() => Math.random() - 0.5);
    this.#name = `${service} (${purpose})`;
    this.#logger = logger;
    this.#open.promise.catch(() => undefined);
  }

  get isOpen(): boolean {
    return this.#model !== undefined;
  }

  /** Another address can be gone on with. */
  get hasSeveral(): boolean {
    return this.#endpoints.length > 1;
  }

  get isStarted(): boolean {
    return this.#started;
  }

  /**
   * Resolves once connected.
   * @param options.failFast  at the first start: settings that cannot work reject instead of being tried for ever
   * @param options.isOnlyTry  at the first start: so does whatever else happens, once each address was tried
   * @throws {ConnectionError} {ClosedError}
   */
  async opened(options: { failFast?: boolean; isOnlyTry?: boolean } = {}): Promise<void> {
    if (!this.#started) {
      this.#started = true;
      void this.#keepOpen(options.failFast === true, options.isOnlyTry === true);
    }
    await this.#open.promise;
  }

  /**
   * Resolves when the broker takes messages, as far as it has said: at once unless it is blocked, and also when the connection is lost.
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
      // Lost in the same breath as it was opened: nobody would hear of it any more.
      if (this.#model !== model) throw new Error("closed");
      return new Channel(raw, () => this.#lastError);
    } catch (error) {
      throw new ConnectionError(`The connection was lost: ${messageOf(this.#lastError ?? error)}`, {
        retryable: true,
        cause: error,
      });
    }
  }

  /** Runs work on a channel of its own, so that a refusal harms nothing else. */
  async withChannel<T>(work: (channel: AmqplibChannel) => Promise<T>): Promise<T> {
    const channel = await this.channel();
    try {
      return await this.withWatchdog(() => work(channel.raw));
    } catch (error) {
      // After a connection error amqplib only says that no reply will come; the reason is the connection's.
      throw channel.isOpen || this.#lastError === undefined || replyCodeOf(error) !== undefined
        ? error
        : this.#lastError;
    } finally {
      await channel.close();
    }
  }

  /** Does what the node is to answer within 5 s: see `startWatchdog`. */
  async withWatchdog<T>(work: () => Promise<T>): Promise<T> {
    const answered = this.startWatchdog();
    try {
      return await work();
    } finally {
      answered();
    }
  }

  /**
   * From now on answers are due. A node that gives none for 5 s is left for the next address, if there is one: cut off from its cluster it
   * keeps its clients, shows what it knows, and changes and confirms nothing.
   * @param hasProgress  asked every 5 s whether some have come. @default none, until the end
   * @returns what ends it
   */
  startWatchdog(hasProgress: () => boolean = () => false): () => void {
    if (!this.hasSeveral) return () => undefined;
    const abortSocket = this.#abortSocket;
    let isDue = true;
    const look = (): void => {
      if (!isDue || this.isBlocked || hasProgress()) return;
      abortSocket.abort(new Error(`it gave no answer for ${unansweredMs} ms, the next address is tried`));
    };
    // Where this process itself stood still, its socket is read before that
    const timer = setInterval(() => setImmediate(look), unansweredMs);
    return () => {
      isDue = false;
      clearInterval(timer);
    };
  }

  /** Closes in order, and on a dead link by destroying the socket after `timeoutMs`. */
  async close(timeoutMs: number): Promise<void> {
    const model = this.#model;
    this.#isClosing = true;
    this.#model = undefined;
    if (model !== undefined) {
      this.#renew();
      const patience = new AbortController();
      await Promise.race([
        model.close().catch(() => undefined),
        sleep(timeoutMs, undefined, { signal: patience.signal }).catch(() => undefined),
      ]);
      patience.abort();
    } else {
      this.#open.reject(new ClosedError("The connection was closed."));
    }
    this.#pause.abort();
    this.#unblocked.open();
    this.#abortSocket.abort();
  }

  #renew(): void {
    this.#open = Promise.withResolvers();
    this.#open.promise.catch(() => undefined);
    if (this.#isClosing) this.#open.reject(new ClosedError("The connection was closed."));
  }

  async #keepOpen(failFast: boolean, isOnlyTry: boolean): Promise<void> {
    let lostAt = performance.now();
    for (let failures = 0, turn = 0; !this.#isClosing; turn++) {
      const endpoint = this.#endpoints[turn % this.#endpoints.length]!;
      const abortSocket = new AbortController();
      this.#abortSocket = abortSocket;
      try {
        const { model, lost } = await this.#dial(endpoint, abortSocket);
        failFast = false;
        isOnlyTry = false;
        const since = performance.now();
        this.#onOpen(model, endpoint);
        await lost;
        if (performance.now() - since > stableAfterMs) {
          failures = 0;
          lostAt = performance.now();
        }
      } catch (error) {
        if (this.#isClosing) return;
        const isRoundDone = (turn + 1) % this.#endpoints.length === 0;
        if ((failFast && isFatal(error)) || (isOnlyTry && isRoundDone)) {
          const retryable = !isFatal(error);
          this.#open.reject(new ConnectionError(adviceFor(error, endpoint), { retryable, cause: error }));
          return;
        }
        const delayMs = isRoundDone ? Math.round(backoffMs(failures, performance.now() - lostAt)) : 0;
        this.#logger.warn(
          { connection: this.#purpose, delayMs },
          `${adviceFor(error, endpoint)} Next attempt in ${delayMs} ms.`,
        );
        if (isRoundDone) failures++;
        await this.#wait(delayMs, true);
        continue;
      } finally {
        // After a heartbeat that failed, amqplib leaves the socket to whoever is at the other end.
        abortSocket.abort();
      }
      // Two connections that are lost again and again as soon as they stand must not wake each other for ever
      const isFirst = failures === 0;
      await this.#wait(backoffMs(failures++, performance.now() - lostAt), isFirst);
    }
  }

  async #wait(delayMs: number, canBeWoken: boolean): Promise<void> {
    if (this.#isClosing) return;
    this.#pause = new AbortController();
    this.#canBeWoken = canBeWoken;
    await sleep(delayMs, undefined, { signal: this.#pause.signal }).catch(() => undefined);
  }

  /** Tries now, if it is waiting to try again: the broker was seen to be there. */
  wake(): void {
    if (this.#canBeWoken) this.#pause.abort();
  }

  /** @returns a connection that lives, and what tells when it no longer does */
  async #dial(endpoint: Endpoint, abortSocket: AbortController): Promise<{ model: ChannelModel; lost: Promise<void> }> {
    const { protocol, hostname, port, username, password, virtualHost, heartbeat } = endpoint;
    // Node's sockets take a signal: the only way to destroy one that amqplib holds, be it frozen or still connecting.
    const untilAborted = { signal: abortSocket.signal };
    // Said aloud, it holds even where NODE_TLS_REJECT_UNAUTHORIZED=0 is set. amqplib adds the host name that is verified.
    const verified = {
      rejectUnauthorized: true,
      ...(endpoint.secureContext && { secureContext: endpoint.secureContext }),
    };
    const tooLate = setTimeout(() => abortSocket.abort(), dialTimeoutMs);
    this.#lastError = undefined;
    try {
      const model = await amqplib.connect(
        {
          protocol,
          hostname,
          port,
          username,
          password,
          vhost: encodeURIComponent(virtualHost),
          ...(heartbeat && { heartbeat }),
        },
        {
          noDelay: true,
          keepAlive: true,
          clientProperties: { connection_name: this.#name },
          ...verified,
          ...untilAborted,
        },
      );
      let isLost = false;
      // What was hung up on has ended for the reason of that
      model.on("error", (error) => {
        this.#lastError = abortSocket.signal.aborted ? abortSocket.signal.reason : error;
        // One that amqplib closes by itself takes nothing any more; its `close` comes with the broker's answer
        this.#onLost(model);
      });
      const lost = new Promise<void>((resolve) => {
        model.once("close", (error?: Error) => {
          isLost = true;
          this.#lastError ??= error;
          this.#onLost(model);
          resolve();
        });
      });
      // A connection that was lost with the handshake's last bytes has emitted its `close` already: a channel shows that it lives.
      const look = async (): Promise<void> => {
        const channel = await model.createChannel();
        await channel.close();
      };
      await Promise.race([look(), lost]);
      if (isLost) throw new Error("closed");
      return { model, lost };
    } catch (error) {
      if (abortSocket.signal.aborted) throw new Error(`it did not answer within ${dialTimeoutMs} ms`, { cause: error });
      throw this.#lastError ?? error;
    } finally {
      clearTimeout(tooLate);
    }
  }

  #onOpen(model: ChannelModel, endpoint: Endpoint): void {
    model.on("blocked", (reason) => {
      this.isBlocked = true;
      emit("connection", { purpose: this.#purpose, state: "blocked" });
      this.#logger.warn(
        { connection: this.#purpose, reason },
        "the broker takes no messages for now (its memory or disk alarm)",
      );
      this.emit("blocked");
    });
    model.on("unblocked", () => {
      this.isBlocked = false;
      this.#unblocked.open();
      emit("connection", { purpose: this.#purpose, state: "unblocked" });
      this.#logger.info({ connection: this.#purpose }, "the broker takes messages again");
      this.emit("unblocked");
    });
    if (this.#isClosing) return;
    this.#model = model;
    this.#open.resolve(model);
    emit("connection", { purpose: this.#purpose, state: "open" });
    this.#logger.info({ connection: this.#purpose }, `connected to ${nameOf(endpoint)}`);
    this.emit("open");
  }

  /** Called from within amqplib's own event, so that nobody is handed a connection that is gone. */
  #onLost(model: ChannelModel): void {
    if (this.#model !== model) return;
    this.#model = undefined;
    this.isBlocked = false;
    this.#unblocked.open();
    this.#renew();
    emit("connection", { purpose: this.#purpose, state: "lost" });
    this.#logger.warn({ connection: this.#purpose }, `connection lost: ${messageOf(this.#lastError)}`);
    this.emit("lost");
  }
}

/** amqplib closes the channel or its connection: it takes nothing any more, and is lost soon. */
export function isClosingError(error: unknown): boolean {
  return error instanceof amqplib.IllegalOperationError;
}

/** What no waiting will mend: credentials, virtual host, certificates. */
function isFatal(error: unknown): boolean {
  const code = replyCodeOf(error);
  return code === 403 || code === 530 || tlsAdvice(error, "") !== undefined;
}

function adviceFor(error: unknown, endpoint: Endpoint): string {
  const where = nameOf(endpoint);
  const code = replyCodeOf(error);
  if (code === 403)
    return `The broker at ${where} refuses this user or password. Check the credentials in the AMQP URL.`;
  if (code === 530)
    return `The broker refuses ${where}: the virtual host does not exist, or this user may not use it. Check the AMQP URL, and the user's permissions and limits there.`;
  const advice = tlsAdvice(error, where);
  if (advice !== undefined) return advice;
  // What a port for TLS does to who does not speak it; a broker that is just going down does the same
  const mayExpectTls = endpoint.protocol === "amqp" && /ECONNRESET|closed abruptly/.test(messageOf(error));
  const hint = mayExpectTls ? " If that port expects TLS, the URL must begin with amqps://." : "";
  return `Cannot connect to the broker at ${where}: ${messageOf(error) || "no reason given"}.${hint}`;
}
