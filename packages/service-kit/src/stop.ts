import type { Logger } from "./logger.ts";

export interface StopOptions {
  logger: Logger;
  timeoutMs: number;
  /** Closes everything. A rejection makes the exit code 1. */
  close: () => Promise<void>;
  /** Names of what is still open, for the log. */
  openNames: () => readonly string[];
}

export interface Stop {
  /** Begins the graceful stop. Later calls only add to the exit code. @param failed  exit with 1 instead of 0 */
  begin(reason: string, failed?: boolean): void;
}

const signals = ["SIGINT", "SIGTERM", "SIGHUP", "SIGQUIT"] as const;

/**
 * Stops the process gracefully, once: on a signal (exit 0), on an uncaught error (exit 1), or when `begin` is called.
 * The terminal and the package manager each send a signal, so a second signal does nothing. After `timeoutMs` the
 * process exits with 1.
 */
export function stopGracefully({ logger, timeoutMs, close, openNames }: StopOptions): Stop {
  let hasBegun = false;
  let hasFailed = false;

  const stop = async (): Promise<void> => {
    setTimeout(() => {
      logger.fatal({ stillOpen: openNames(), timeoutMs }, "stop timed out (STOP_TIMEOUT_MS)");
      process.exit(1);
    }, timeoutMs);
    try {
      await close();
    } catch (error) {
      logger.error({ err: error }, "some resources failed to close");
      hasFailed = true;
    }
    logger.info("stopped");
    process.exit(hasFailed ? 1 : 0);
  };
  const begin = (reason: string, failed = false): void => {
    hasFailed ||= failed;
    if (hasBegun) return;
    hasBegun = true;
    logger.info({ why: reason }, "stopping");
    void stop();
  };
  const onError = (kind: string) => (error: unknown) => {
    logger.fatal({ err: error }, kind);
    begin(kind, true);
  };

  for (const signal of signals) process.on(signal, () => begin(signal));
  process.on("uncaughtException", onError("uncaught exception"));
  process.on("unhandledRejection", onError("unhandled rejection"));
  return { begin };
}
