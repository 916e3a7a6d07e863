import closeWithGrace from "close-with-grace";
import type { Logger } from "./logger.ts";

export interface StopOptions {
  logger: Logger;
  timeoutMs: number;
  /** Closes all; may reject */
  close: () => Promise<void>;
  /** What has not closed yet, for the log */
  stillOpen: () => readonly string[];
}

export interface Stop {
  /** Begins the orderly stop; once it has begun, this only adds to the exit code. @param failed  exit 1 instead of 0 */
  begin(why: string, failed?: boolean): void;
}

const signals = ["SIGINT", "SIGTERM", "SIGHUP"] as const;

/**
 * One orderly stop, whatever comes first: a signal (exit 0), an error that nobody caught (exit 1), or our own wish. Terminal
 * and package manager both send a signal: the second one changes nothing. Past `timeoutMs` the process exits 1.
 */
export function stopGracefully({ logger, timeoutMs, close, stillOpen }: StopOptions): Stop {
  let hasBegun = false;
  let hasFailed = false;
  // Left to close-with-grace, a second signal or error would end the process in the middle of its stop
  const grace = closeWithGrace(
    {
      delay: timeoutMs,
      logger: false,
      skip: [...signals, "uncaughtException", "unhandledRejection"],
      onTimeout: () => logger.fatal({ stillOpen: stillOpen(), timeoutMs }, "not stopped in time (STOP_TIMEOUT_MS)"),
    },
    async () => {
      await close().catch((error: unknown) => {
        logger.error({ err: error }, "not everything closed in good order");
        hasFailed = true;
      });
      logger.info("stopped");
      // Its way to exit 1
      if (hasFailed) throw new Error("failed");
    },
  );

  const begin = (why: string, failed = false): void => {
    hasFailed ||= failed;
    if (hasBegun) return;
    hasBegun = true;
    logger.info({ why }, "stopping");
    grace.close();
  };
  const onError = (what: string) => (error: unknown) => {
    logger.fatal({ err: error }, what);
    begin(what, true);
  };

  for (const signal of signals) process.on(signal, () => begin(signal));
  process.on("uncaughtException", onError("uncaught exception"));
  process.on("unhandledRejection", onError("unhandled rejection"));
  return { begin };
}
