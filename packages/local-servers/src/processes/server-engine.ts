/** A server that can be mistreated, wherever it runs: a container or a private process of this machine. */
export interface ServerEngine {
  /** Resolves when it has been started; whether it answers yet is the caller's question. */
  start(): Promise<void>;
  /** In good order; resolves when it has ended. */
  stop(): Promise<void>;
  /** `kill -9`; resolves when it has ended. */
  kill(): Promise<void>;
  freeze(): Promise<void>;
  thaw(): Promise<void>;
  /** Runs a command line tool of the server, such as rabbitmqctl, beside it. */
  run(command: string, args: string[]): Promise<void>;
  /** Whether it runs now: it may have ended by itself. */
  isRunning(): Promise<boolean>;
  /** The last lines that it printed, for error messages. */
  lastOutput(): Promise<string>;
  /** Ends it at once and removes its data. */
  remove(): Promise<void>;
}
