import { setTimeout as sleep } from "node:timers/promises";
import type { FastifyInstance } from "fastify";
import { Health } from "./health.ts";
import { HttpServer } from "./http-server.ts";
import { createLogger, type LineWriter, type Logger } from "./logger.ts";
import { type Closeable, Resources } from "./resources.ts";
import { readSettings, serviceSettings, type Setting, type Settings, SettingsError } from "./settings.ts";
import { type Stop, stopGracefully } from "./stop.ts";

type Declared = Readonly<Record<string, Setting<unknown>>>;
type CommonSettings = Settings<ReturnType<typeof serviceSettings>>;
type IsReady = () => boolean | Promise<boolean>;

export interface ServiceDefinition<S extends Declared> {
  /** The service's name in the system, such as "scheduling". */
  name: string;
  /** The HTTP port unless `PORT` is set. */
  port: number;
  /** Settings besides those that all services have; `{}` for none. */
  settings: S;
  /** Receives the log when stdout is a terminal, for a service that draws on it. @default stdout */
  terminal?: LineWriter | undefined;
}

/** What `start` gets. */
export interface Service<S> {
  readonly name: string;
  readonly settings: CommonSettings & Settings<S>;
  readonly logger: Logger;
  /** Aborts when the service stops. Pass it to everything that waits. */
  readonly signal: AbortSignal;
  /** For the service's routes. They open when `start` has resolved. */
  readonly http: FastifyInstance;
  /** How long a connection may take to close, in milliseconds: half of `STOP_TIMEOUT_MS`. */
  readonly closeTimeoutMs: number;
  /** Closes the resource when the service stops; the newest resource is closed first. @returns the resource */
  closeOnStop: <T extends Closeable>(resource: T, name?: string) => T;
}

export interface Started {
  /** `/readyz` calls this on each request. @default always ready */
  isReady?: IsReady;
  /** For a service that ends by itself: it stops when this resolves (exit 0) or rejects (exit 1). */
  finished?: Promise<unknown>;
}

/**
 * Runs a service from its settings to its graceful stop, and ends the process.
 * Exit code 0: it stopped gracefully. Exit code 1: a setting is invalid, `start` or `finished` failed, an error was not
 * caught, a resource failed to close, or the stop took longer than `STOP_TIMEOUT_MS`.
 * @param start  opens what the service needs and registers its routes
 * @example
 * await runService({ name: "scheduling", port: 3002, settings: {} }, async ({ http, settings, closeOnStop }) => {
 *   const calendar = closeOnStop(await openCalendar());
 *   http.get("/appointments", () => calendar.upcoming());
 *   return { isReady: () => calendar.isOpen };
 * });
 */
export async function runService<S extends Declared>(
  { name, port, settings: declared, terminal }: ServiceDefinition<S>,
  start: (service: Service<S>) => Promise<Started | void>,
): Promise<void> {
  // The reader of our output may end. pino ignores the closed pipe, console does not.
  for (const stream of [process.stdout, process.stderr]) stream.on("error", () => {});
  const settings: CommonSettings & Settings<S> = await settingsOrExit(name, { ...serviceSettings(port), ...declared });
  const logger = await createLogger(name, settings.logLevel, terminal);
  const lifecycle = new Lifecycle(name, settings, logger);
  await lifecycle.run(() =>
    start({
      name,
      settings,
      logger,
      signal: lifecycle.signal,
      http: lifecycle.http,
      closeTimeoutMs: Math.floor(settings.stopTimeoutMs / 2),
      closeOnStop: (resource, resourceName) => lifecycle.resources.use(resource, resourceName),
    }),
  );
}

class Lifecycle {
  readonly resources: Resources;
  readonly #name: string;
  readonly #settings: CommonSettings;
  readonly #logger: Logger;
  readonly #health = new Health();
  readonly #server: HttpServer;
  readonly #stopping = new AbortController();
  readonly #stop: Stop;
  #starting: Promise<void> | undefined;

  constructor(name: string, settings: CommonSettings, logger: Logger) {
    this.#name = name;
    this.#settings = settings;
    this.#logger = logger;
    this.#server = new HttpServer(this.#health, logger, settings.rateLimitPerMinute);
    this.resources = new Resources(logger);
    this.#stop = stopGracefully({
      logger,
      timeoutMs: settings.stopTimeoutMs,
      openNames: () => this.resources.openNames,
      close: () => this.#close(),
    });
  }

  get signal(): AbortSignal {
    return this.#stopping.signal;
  }

  get http(): FastifyInstance {
    return this.#server.fastify;
  }

  /** Resolves when the service has started. A failure begins the stop. */
  async run(start: () => Promise<Started | void>): Promise<void> {
    this.#starting = this.#start(start).catch((error: unknown) =>
      this.#fail(explainListenError(error, this.#settings.host, this.#settings.port), "start failed"),
    );
    await this.#starting;
    this.#starting = undefined;
  }

  async #start(start: () => Promise<Started | void>): Promise<void> {
    const port = await this.#server.listen(this.#settings.host, this.#settings.port);
    this.#logger.debug({ port }, "listening");
    const { isReady = () => true, finished } = (await start()) ?? {};
    await this.#server.openRoutes();
    this.#health.started(isReady);
    if (await this.#becomesReady(finished)) this.#logger.info({ port }, "ready");
    if (finished !== undefined) void this.#stopAfter(finished);
  }

  /** @returns false when the service finished before it was ready */
  async #becomesReady(finished: Promise<unknown> | undefined): Promise<boolean> {
    let hasFinished = false;
    void finished?.catch(() => {}).then(() => (hasFinished = true));
    for (;;) {
      const status = await this.#health.status();
      if (status !== "not ready" || hasFinished) return status === "ready";
      await sleep(50, undefined, { signal: this.signal });
    }
  }

  async #stopAfter(finished: Promise<unknown>): Promise<void> {
    try {
      await finished;
      this.#stop.begin("finished");
    } catch (error) {
      this.#fail(error, "service failed");
    }
  }

  #fail(error: unknown, reason: string): void {
    // The stop aborts a start that is still running: that error is expected
    if (this.signal.aborted) return;
    this.#logger.fatal({ err: error }, reason);
    this.#stop.begin(reason, true);
  }

  async #close(): Promise<void> {
    this.#health.stopping();
    this.#stopping.abort(new Error(`${this.#name} is stopping.`));
    // Requests in flight use the other resources, so HTTP is closed first
    this.resources.defer("HTTP", () => this.#server.close(this.#settings.stopTimeoutMs * 0.4));
    const closing = this.resources.close();
    // Closed after the others: a start that ignores the signal ends when what it uses is closed
    if (this.#starting !== undefined) this.resources.defer("start", () => this.#starting);
    await closing;
  }
}

async function settingsOrExit<S extends Declared>(name: string, declared: S): Promise<Settings<S>> {
  try {
    return readSettings(declared, process.env);
  } catch (error) {
    if (!(error instanceof SettingsError)) throw error;
    const logger = await createLogger(name, "info");
    logger.fatal({ faults: error.faults }, error.message);
    return process.exit(1);
  }
}

function explainListenError(error: unknown, host: string, port: number): unknown {
  if (!(error instanceof Error && "syscall" in error && "code" in error)) return error;
  // "getaddrinfo": HOST is a name that cannot be resolved
  if (error.syscall !== "listen" && error.syscall !== "getaddrinfo") return error;
  const reason = error.code === "EADDRINUSE" ? "the port is in use" : String(error.code);
  return new Error(`Cannot listen on ${host}, port ${port}: ${reason}. Set PORT (0 picks a free one) or HOST.`, {
    cause: error,
  });
}
