import { setTimeout as sleep } from "node:timers/promises";
import type { FastifyInstance } from "fastify";
import { Health } from "./health.ts";
import { HttpDoor } from "./http.ts";
import { createLogger, type LineWriter, type Logger } from "./logger.ts";
import { Owned, type Closeable } from "./owned.ts";
import { readSettings, serviceSettings, type Setting, type Settings, SettingsError } from "./settings.ts";
import { stopGracefully } from "./stop.ts";

type Declared = Readonly<Record<string, Setting<unknown>>>;
type SettingsOfAll = Settings<ReturnType<typeof serviceSettings>>;

export interface ServiceDefinition<S extends Declared> {
  /** As the system knows it, such as "scheduling" */
  name: string;
  /** Where its HTTP listens unless `PORT` says otherwise */
  port: number;
  /** Beside those that all services have; `{}` when there are none */
  settings: S;
  /** Takes the log where stdout is a terminal, for a service that draws on it. @default stdout itself */
  terminal?: LineWriter | undefined;
}

/** What `start` is handed. */
export interface Service<S> {
  readonly name: string;
  readonly settings: SettingsOfAll & Settings<S>;
  readonly logger: Logger;
  /** Aborts when the service is to stop: whatever waits, ends */
  readonly signal: AbortSignal;
  /** For the service's routes, which open when `start` has resolved */
  readonly http: FastifyInstance;
  /** How long a connection may take to close: half of `STOP_TIMEOUT_MS` */
  readonly closeTimeoutMs: number;
  /** Closes it at the stop, the newest first. @returns what it was handed */
  own: <T extends Closeable>(opened: T, name?: string) => T;
}

export interface Started {
  /** Asked by `/readyz`. @default always */
  isReady?: () => boolean | Promise<boolean>;
  /** A service that comes to its end: it then stops by itself, exit 0, or 1 when it rejects */
  finished?: Promise<unknown>;
}

/**
 * The life of a service: settings, HTTP with `/livez` and `/readyz`, `start`, "ready", and at a signal the orderly stop.
 * Ends the process: 0 after an orderly stop, 1 when the settings are wrong, the start fails, something is thrown that
 * nobody catches, or the stop takes longer than `STOP_TIMEOUT_MS`.
 */
export async function runService<S extends Declared>(
  { name, port, settings: declared, terminal }: ServiceDefinition<S>,
  start: (service: Service<S>) => Promise<Started | void>,
): Promise<void> {
  // Who reads our output may leave: pino ignores that by itself, console does not
  for (const stream of [process.stdout, process.stderr]) stream.on("error", () => {});
  const settings: SettingsOfAll & Settings<S> = await settingsOrExit(name, { ...serviceSettings(port), ...declared });
  const { host, logLevel, stopTimeoutMs } = settings;
  const logger = await createLogger(name, logLevel, terminal);
  const health = new Health();
  const door = new HttpDoor(health, logger, settings.rateLimitPerMinute);
  const owned = new Owned(logger);
  const stopped = new AbortController();
  let starting: Promise<unknown> = Promise.resolve();
  let isStarting = true;

  const stop = stopGracefully({
    logger,
    timeoutMs: stopTimeoutMs,
    stillOpen: () => owned.stillOpen,
    close: async () => {
      health.stopping();
      stopped.abort(new Error(`${name} is stopping.`));
      // Closed first, since requests in hand use what was opened before
      owned.add("HTTP", () => door.close(stopTimeoutMs * 0.4));
      const closing = owned.close();
      // The start that is under way ends by the signal, or because what it uses is closed
      if (isStarting) owned.add("start", () => starting);
      await closing;
    },
  });

  const run = async (): Promise<void> => {
    const service = {
      name,
      settings,
      logger,
      signal: stopped.signal,
      http: door.fastify,
      closeTimeoutMs: Math.floor(stopTimeoutMs / 2),
      own: <T extends Closeable>(opened: T, ownName?: string): T => owned.own(opened, ownName),
    };
    const listeningOn = await door.listen(host, settings.port);
    logger.debug({ port: listeningOn }, "listening");
    const { isReady = () => true, finished } = (await start(service)) ?? {};
    await door.open();
    health.started(isReady);
    const end = new AbortController();
    void finished?.catch(() => {}).then(() => end.abort());
    let status = await health.status();
    while (status === "not ready" && !end.signal.aborted) {
      await sleep(50, undefined, { signal: stopped.signal });
      status = await health.status();
    }
    if (status === "ready") logger.info({ port: listeningOn }, "ready");
    if (finished !== undefined) void endAfter(finished);
  };

  const endAfter = async (finished: Promise<unknown>): Promise<void> => {
    try {
      await finished;
      stop.begin("finished");
    } catch (error) {
      fail(error, "failed");
    }
  };

  const fail = (error: unknown, what: string): void => {
    // Stopped while it started: that is how it ends, not a fault
    if (stopped.signal.aborted) return;
    logger.fatal({ err: error }, what);
    stop.begin(what, true);
  };

  starting = run().catch((error: unknown) => fail(inWords(error, host, settings.port), "the start failed"));
  await starting;
  isStarting = false;
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

function inWords(error: unknown, host: string, port: number): unknown {
  if (!(error instanceof Error && "syscall" in error && "code" in error)) return error;
  // A HOST that is a name is looked up first
  if (error.syscall !== "listen" && error.syscall !== "getaddrinfo") return error;
  const why = error.code === "EADDRINUSE" ? "it is in use" : String(error.code);
  return new Error(`Cannot listen on ${host}, port ${port}: ${why}. Set PORT (0 picks a free one) or HOST.`, {
    cause: error,
  });
}
